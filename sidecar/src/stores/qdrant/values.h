// A column's value as Qdrant's payload holds it (design, section 3a). Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/mapping.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

/// How deep a json value may nest. Qdrant's decoder gives up at 100 nested messages and each level
/// takes three; it answers INTERNAL then, which would look like trouble of the store.
inline constexpr int kNestingMax = 28;

/// Why a value cannot be encoded; empty: it can.
using Reason = std::string;

/// `text` is the value's JSON in the row's image.
Reason EncodeValue(const Column& column, std::string_view text, ::qdrant::Value* out);

}  // namespace apex::qdrant
