// One authenticated Bolt connection (4.4, 5.0 to 5.8) and the requests we make on it.
//
// Used by one thread. Every call returns by its deadline. After a failure that the server reported
// the connection is reset and stays usable; after any other failure it is `broken` and must be
// dropped.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "net/transport.h"
#include "stores/neo4j/framing.h"
#include "stores/neo4j/packstream.h"
#include "stores/neo4j/uri.h"

namespace apex::neo4j {

struct BoltVersion {
  int major = 0;
  int minor = 0;

  auto operator<=>(const BoltVersion&) const = default;
};

/// What a client says first: the magic number and four proposals, each a version and how many
/// minors below it will do.
std::string HandshakeRequest();
/// The server's choice, if it is one that we proposed.
std::optional<BoltVersion> HandshakeAnswer(std::array<uint8_t, 4> answer);

/// A name and password; an empty name or password means none.
struct Credentials {
  std::string user;
  std::string password;
};

struct Statement {
  std::string_view cypher;  ///< Outlives the statement.
  std::string parameters;   ///< One encoded map.
  int64_t rows = 0;         ///< What the statement must count; ignored here.
};

/// The rows a statement returned.
using Records = std::vector<packstream::List>;

struct TransactionOutcome {
  std::optional<StoreError> error;  ///< Nothing was committed, unless it is of unknown outcome.
  std::vector<Records> results;     ///< Of the statements that ran, in their order.
};

class BoltConnection {
 public:
  /// Connects, negotiates and authenticates. `routing` is the context announced for a neo4j:// URI.
  static Result<std::unique_ptr<BoltConnection>> Open(const Address& address, const Uri& uri,
                                                      const Credentials& credentials,
                                                      Deadline deadline);
  ~BoltConnection();

  BoltVersion version() const { return version_; }
  /// Whether DateTime counts in UTC, see packstream::Writer::DateTimeUtc.
  bool utc_datetimes() const { return version_.major >= 5; }
  bool broken() const { return broken_; }

  /// False when the server has closed the connection meanwhile. Does not wait.
  bool StillOpen();

  /// All statements in one transaction: everything from BEGIN to COMMIT goes out in one flush, then
  /// the answers are read. After a failed statement the server ignores the rest, COMMIT included.
  /// Neither sent nor answered: unknown outcome.
  TransactionOutcome RunTransaction(std::string_view database,
                                    std::span<const Statement> statements,
                                    std::string_view operation, Deadline deadline);

  /// One statement in its own transaction, as schema changes need it.
  Result<Records> Run(std::string_view database, const Statement& statement,
                      std::string_view operation, Deadline deadline);

  /// One reading statement, whose records are handed on in pages: the server makes the next page
  /// when it is asked for. No answer is waited for longer than `timeout`. An error of `on_page`
  /// ends it.
  Status Stream(std::string_view database, const Statement& statement, std::string_view operation,
                int64_t page_records, std::chrono::milliseconds timeout,
                const std::function<Status(Records)>& on_page);

  /// The routing table of `database`, as the server's map.
  Result<packstream::Value> Route(std::string_view database, const Address& seed, const Uri& uri,
                                  Deadline deadline);

 private:
  struct Answer {
    uint8_t tag = 0;
    packstream::Value body;
  };

  explicit BoltConnection(std::unique_ptr<net::Transport> transport)
      : transport_(std::move(transport)) {}

  Status Negotiate(Deadline deadline);
  Status Authenticate(const Address& address, const Uri& uri, const Credentials& credentials,
                      Deadline deadline);
  /// Sends a message of its own and reads its one answer.
  Result<packstream::Value> Call(std::string_view message, std::string_view operation,
                                 Deadline deadline);
  Status Send(std::string_view bytes, Deadline deadline);
  Result<Answer> Receive(Deadline deadline);
  /// Reads up to the answer that closes a request; records on the way are collected.
  Result<Answer> ReceiveSummary(Records& records, Deadline deadline);
  Status Reset(Deadline deadline);

  std::unique_ptr<net::Transport> transport_;
  Dechunker dechunker_;
  BoltVersion version_;
  bool broken_ = false;
  bool failed_ = false;  ///< The server ignores everything until it is reset.
};

}  // namespace apex::neo4j
