// The W3C trace context header `traceparent`, as far as a value has to be recognised. Pure;
// thread-safe.
#pragma once

#include <string_view>

namespace apex {

/// True for a value of version 00, and for a later version's value that starts like one, as the W3C
/// rules ask.
bool IsTraceparent(std::string_view text);

}  // namespace apex
