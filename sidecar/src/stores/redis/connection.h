// One connection to a Redis server: opened when first used, closed after any failure and opened
// again at the next use.
//
// Used by one thread. Every call returns by its deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "net/address.h"
#include "net/transport.h"
#include "stores/redis/claim.h"
#include "stores/redis/commands.h"
#include "stores/redis/reply.h"
#include "stores/redis/reply_reader.h"

namespace apex::redis {

/// As whom, and how, to connect to any server of a target.
struct Login {
  std::string user{};      ///< Empty: the default user.
  std::string password{};  ///< Empty: no authentication.
  int database = 0;
  std::optional<net::Tls> tls{};
  bool primary = false;                ///< A server that is none is not taken.
  std::vector<std::string> scripts{};  ///< Loaded on every connection, so that EVALSHA finds them.
};

class Connection {
 public:
  /// Says where to connect to, each time.
  using Resolve = std::function<Result<net::Address>(Deadline)>;

  Connection(std::shared_ptr<const Login> login, Resolve resolve)
      : login_(std::move(login)), resolve_(std::move(resolve)) {}

  /// From now on this connection writes for the leader of `claims`: before anything else is sent,
  /// the connections with an older claim are ended on the server, and the epoch is confirmed.
  void Claim(std::shared_ptr<Claims> claims);

  /// Makes the connection, when there is none. Nothing is sent that changes anything.
  Status Open(std::string_view operation, Deadline deadline);
  bool is_open() const { return transport_ != nullptr; }
  void Close();

  /// Sends the commands from `first` on that may be in flight at once, at least one, and returns
  /// the end of them. Receive comes next.
  Result<size_t> Send(std::string_view operation, const Commands& commands, size_t first,
                      Deadline deadline);
  /// Appends the replies to `count` commands; refusals are among them. When the connection fails,
  /// the outcome of every command that was sent is unknown.
  Status Receive(std::string_view operation, size_t count, Deadline deadline,
                 std::vector<Reply>& replies);

  /// Both, until all are answered.
  Result<std::vector<Reply>> Exchange(std::string_view operation, const Commands& commands,
                                      Deadline deadline);

 private:
  Status Handshake(std::string_view operation, Deadline deadline);
  Status LogIn(std::string_view operation, Deadline deadline);
  Status EndOlderClaims(std::string_view operation, Deadline deadline);
  /// As Exchange on the connection there is; the first refusal is the error.
  Result<std::vector<Reply>> Ask(std::string_view operation, const Commands& commands,
                                 Deadline deadline);

  const std::shared_ptr<const Login> login_;
  const Resolve resolve_;
  std::unique_ptr<net::Transport> transport_;
  ReplyReader reader_;
  std::shared_ptr<Claims> claims_;
};

}  // namespace apex::redis
