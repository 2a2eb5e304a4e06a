#include "stores/redis/scanner.h"

#include <utility>

#include "stores/redis/error.h"

namespace apex::redis {
namespace {

/// Keys that Redis looks at in one call, an eighth of a millisecond: it serves nobody else
/// meanwhile. With fewer, the calls themselves would be what a pass takes on a network.
constexpr const char* kScanCount = "200";

}  // namespace

void Scanner::Close() {
  connection_.Close();
  asked_.reset();
}

Status Scanner::Ask(std::string_view operation, Asked asked, Deadline deadline) {
  const Commands scan{{"SCAN", asked.cursor, "MATCH", asked.pattern, "COUNT", kScanCount}};
  const auto sent = connection_.Send(operation, scan, 0, deadline);
  if (!sent.ok()) return sent.error();
  asked_ = std::move(asked);
  return {};
}

Result<Reply> Scanner::Answer(std::string_view operation, Deadline deadline) {
  asked_.reset();
  std::vector<Reply> replies;
  Status received = connection_.Receive(operation, 1, deadline, replies);
  if (!received.ok()) return received.error();
  return std::move(replies.front());
}

Result<Reply> Scanner::Fetch(std::string_view operation, const Asked& wanted, Deadline deadline) {
  // What was asked for is not wanted any more: another pass begins, or one goes on.
  if (asked_ && *asked_ != wanted) {
    if (auto unwanted = Answer(operation, deadline); !unwanted.ok()) Close();
  }
  if (!asked_) {
    if (Status asked = Ask(operation, wanted, deadline); !asked.ok()) return asked.error();
  }
  return Answer(operation, deadline);
}

Result<std::vector<std::string>> Scanner::Page(std::string_view operation,
                                               const PatternSet& patterns, std::string& cursor,
                                               Deadline deadline) {
  const Asked wanted{patterns.ScanPattern(), cursor};
  const bool was_open = connection_.is_open();
  Result<Reply> page = Fetch(operation, wanted, deadline);
  // Servers close what has long been idle. In the middle of a pass it may be another server's turn,
  // where the cursor says nothing.
  if (!page.ok() && was_open && page.error().native_code == kConnectionLost && cursor == "0")
    page = Fetch(operation, wanted, deadline);
  if (!page.ok()) return page.error();
  if (page->type == Reply::Type::kError) {
    if (NeedsNewConnection(page->text)) Close();
    return ReplyError(operation, page->text);
  }
  if (page->elements.size() != 2) {
    return ClientError(operation, ErrorKind::kUnknownOutcome, kProtocol,
                       "SCAN answered without a cursor");
  }
  const std::string& next = page->elements[0].text;
  if (next != "0") {
    if (Status asked = Ask(operation, {wanted.pattern, next}, deadline); !asked.ok())
      return asked.error();
  }
  cursor = next;
  std::vector<std::string> keys;
  for (Reply& key : page->elements[1].elements) {
    if (patterns.ScansExactly() || patterns.Matches(key.text)) keys.push_back(std::move(key.text));
  }
  return keys;
}

}  // namespace apex::redis
