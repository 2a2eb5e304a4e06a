// Which committed changes have been peeked at, so that none is twice: while a store is away there
// may be millions, and each batch that is closed meanwhile brings some of them nearer.
//
// Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/ledger.h"

namespace apex::postgres {

/// A place in the outbox: what `snapshot` sees lies before it. See apex.pipeline.
struct Bound {
  std::string snapshot;
  std::string ceiling;
  std::string position;

  bool operator==(const Bound&) const = default;
};

class PeekCursor {
 public:
  struct Span {
    Bound from;
    Bound to;
    int64_t after_seq = 0;
  };

  /// What is being looked at.
  const std::optional<Span>& span() const { return span_; }
  /// What was read since is not looked at: its entry may have been written.
  void CatchUp(const PeekPlace& place);
  /// What comes next: the rest of the open batch, which reaches from `from` to `to`, before what is
  /// committed behind it.
  void Begin(const PeekPlace& place, Bound from, Bound to, Bound now);
  /// A piece of the span was looked at; `end`: its last one. True: nothing lies behind it.
  bool Passed(int64_t through_seq, bool end);
  /// The next batch is another one, and ends later than anything that was looked at.
  void BatchClosed();

 private:
  std::optional<Span> span_;
  std::optional<Bound> seen_;   ///< What lies before it was read or looked at.
  bool batch_is_seen_ = false;  ///< The open batch lies before it.
};

}  // namespace apex::postgres
