// The module's settings. Backend-local, like every GUC.
#pragma once

namespace apex::pg {

/// `apex.traceparent`: the W3C trace context that captured events carry, or the empty string. Never
/// NULL after load.
extern char* traceparent;

}  // namespace apex::pg
