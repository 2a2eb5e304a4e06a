// Redis as its users see it, whether it is one server, a primary that sentinels name, or a cluster.
//
// Used by one thread. Connects when first used and again after a failure. Every call returns by its
// deadline.
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
#include "stores/redis/connection.h"
#include "stores/redis/glob.h"
#include "stores/redis/reply.h"
#include "stores/redis/target.h"

namespace apex::redis {

/// How far a pass over all keys has come. A value; the first page comes of an empty one.
struct ScanPass {
  bool over = false;
  std::string cursor = "0";
  std::optional<net::Address> server{};  ///< Of a cluster: the one that is being looked through.
  std::vector<net::Address> passed{};

  bool operator==(const ScanPass&) const = default;
};

class Client {
 public:
  /// Does not connect. `scripts` are loaded on every connection made.
  static std::unique_ptr<Client> Make(const Target& target, std::vector<std::string> scripts);
  virtual ~Client() = default;

  /// From now on what is sent is a leader's: see claim.h. A fence that confirms nothing claims
  /// nothing.
  void Claim(const Fence& fence);

  /// Sends all commands, pipelined within named bounds, and returns their replies in order. When a
  /// command is refused the others are carried out all the same and the error is one of those
  /// refusals, a condition of the server before a fault of the command. When a connection fails the
  /// outcome of every command is unknown. Replaying is the caller's right only for idempotent
  /// commands; it is done here for scripts that the server has forgotten, and for keys that have
  /// moved to another server, whose commands stay in order.
  Result<std::vector<Reply>> Run(std::string_view operation, const Commands& commands,
                                 Deadline deadline);

  /// The keys of the next page that match, and some of them twice; a page may be empty. A key that
  /// is there all the time is found, unless it moves between servers of a cluster meanwhile.
  virtual Result<std::vector<std::string>> Scan(std::string_view operation,
                                                const PatternSet& patterns, ScanPass& pass,
                                                Deadline deadline) = 0;

  /// The same commands, without keys, at every primary; the replies of one after those of another.
  virtual Result<std::vector<Reply>> RunEverywhere(std::string_view operation,
                                                   const Commands& commands, Deadline deadline) = 0;

  /// A command's keys have to be of one slot.
  virtual bool has_slots() const = 0;

  /// The digest of `scripts[index]`, for EVALSHA.
  const std::string& ScriptDigest(size_t index) const { return digests_[index]; }

 protected:
  explicit Client(const std::vector<std::string>& scripts);

  virtual void SetClaims(std::shared_ptr<Claims> claims) = 0;
  /// Replies and refusals, one a command.
  virtual Result<std::vector<Reply>> Exchange(std::string_view operation, const Commands& commands,
                                              Deadline deadline) = 0;
  /// A server said that another one, or this one asked anew, may answer otherwise.
  virtual void Reconnect() = 0;

 private:
  Result<std::vector<Reply>> RunOnce(std::string_view operation, const Commands& commands,
                                     Deadline deadline);

  std::vector<std::string> digests_;
  std::shared_ptr<Claims> claims_;
};

}  // namespace apex::redis
