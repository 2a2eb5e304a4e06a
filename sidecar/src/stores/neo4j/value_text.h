// Neo4j's values in words, for comparing and showing them. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "stores/neo4j/packstream.h"

namespace apex::neo4j {

/// Equal for equal values of equal types, and for no others. Dates and times in their ISO form.
std::string ShowValue(const packstream::Value& value);

/// The encoded value's; "null" for none.
std::string ShowEncoded(std::string_view encoded);

/// A part of a row's key as the outbox writes it in JSON; nullopt: a value that no key becomes.
std::optional<std::string> KeyJson(const packstream::Value& value);

}  // namespace apex::neo4j
