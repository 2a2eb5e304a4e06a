// One connection to a Redis server: opened when first used, closed after any failure and opened
// again at the next use.
//
// Used by one thread. Every call returns by its deadline, but for the time the system's resolver
// takes for a host name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "core/target_store.h"
#include "stores/redis/commands.h"

namespace apex::redis {

struct Reply {
  enum class Type { kNil, kInteger, kText, kArray };

  Type type = Type::kNil;
  int64_t integer = 0;
  std::string text;
  std::vector<Reply> elements;
};

/// Where and as whom to connect.
struct Target {
  std::string host;
  uint16_t port = 6379;
  std::string user;      ///< Empty: the default user.
  std::string password;  ///< Empty: no authentication.
  int database = 0;
};

class Connection {
 public:
  /// `scripts` are loaded on every connection made, so that EVALSHA finds them.
  Connection(Target target, std::vector<std::string> scripts);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// From now on this connection writes for the leader of `fence`: before anything else is sent,
  /// the connections with an older claim are ended on the server, and the epoch is confirmed. A
  /// fence that confirms nothing claims nothing.
  void Claim(const Fence& fence);

  /// Sends all commands, pipelined within named bounds, and returns their replies in order. When a
  /// command is refused the others are carried out all the same and the error is one of those
  /// refusals, a condition of the server before a fault of the command. When the connection fails
  /// the outcome of every command is unknown. Replaying is the caller's right only for idempotent
  /// commands; it is done here once, for scripts that the server has forgotten.
  Result<std::vector<Reply>> Run(std::string_view operation, const Commands& commands,
                                 Deadline deadline);

  /// The digest of `scripts[index]`, for EVALSHA.
  const std::string& ScriptDigest(size_t index) const { return digests_[index]; }

 private:
  struct Context;

  Status Connect(std::string_view operation, Deadline deadline);
  Status Handshake(std::string_view operation, Deadline deadline);
  /// Afterwards nothing that an earlier leader sent, or that was given up on an earlier connection,
  /// can arrive any more, and it is certain that this epoch has not ended before that.
  Status EndOlderClaims(std::string_view operation, Deadline deadline);
  /// On the connection there is; one window.
  Result<std::vector<Reply>> RunHere(std::string_view operation, const Commands& commands,
                                     Deadline deadline);
  Result<std::vector<Reply>> RunOnce(std::string_view operation, const Commands& commands,
                                     Deadline deadline);
  /// Carries out the commands from `first` up to `end`, appends their replies and keeps the most
  /// telling refusal in `refused`.
  Status RunWindow(std::string_view operation, const Commands& commands, size_t first, size_t end,
                   Deadline deadline, std::vector<Reply>& replies,
                   std::optional<std::string>& refused);

  Target target_;
  std::vector<std::string> scripts_;
  std::vector<std::string> digests_;
  std::optional<Fence> fence_;
  int64_t claims_ = 0;  ///< Made so far: the number of the newest.
  std::unique_ptr<Context> context_;
};

}  // namespace apex::redis
