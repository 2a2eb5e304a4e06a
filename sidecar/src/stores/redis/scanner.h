// Looks through the keys of one server a page ahead of whoever asks: while a page is held against
// patterns, the server makes the next one.
//
// Has a connection of its own, so that what is done with the keys of a page does not wait for the
// next one. It only reads and makes no claim. Used by one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "stores/redis/connection.h"
#include "stores/redis/glob.h"
#include "stores/redis/reply.h"

namespace apex::redis {

class Scanner {
 public:
  Scanner(std::shared_ptr<const Login> login, Connection::Resolve resolve)
      : connection_(std::move(login), std::move(resolve)) {}

  /// Which keys of the page at `cursor` match. Moves the cursor on; it is "0" before the first page
  /// and after the last. Where the call fails the cursor stays.
  Result<std::vector<std::string>> Page(std::string_view operation, const PatternSet& patterns,
                                        std::string& cursor, Deadline deadline);
  void Close();

 private:
  struct Asked {
    std::string pattern;
    std::string cursor;

    bool operator==(const Asked&) const = default;
  };

  Status Ask(std::string_view operation, Asked asked, Deadline deadline);
  Result<Reply> Answer(std::string_view operation, Deadline deadline);
  Result<Reply> Fetch(std::string_view operation, const Asked& wanted, Deadline deadline);

  Connection connection_;
  std::optional<Asked> asked_;  ///< Its answer has not been read.
};

}  // namespace apex::redis
