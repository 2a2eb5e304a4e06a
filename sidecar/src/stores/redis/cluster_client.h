// A Redis Cluster: sends each command to the server that holds its key's slot.
//
// The map of slots is fetched when first used, after a failure and after a slot has moved; a
// redirection is followed at once. What a server cannot serve while a slot is moving is sent again
// until the deadline. Used by one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "stores/redis/client.h"
#include "stores/redis/connection.h"
#include "stores/redis/scanner.h"
#include "stores/redis/slots.h"

namespace apex::redis {

class ClusterClient : public Client {
 public:
  /// `seeds` are some nodes of the cluster; the others are learnt from it.
  ClusterClient(Login login, std::vector<net::Address> seeds);

  Result<std::vector<std::string>> Scan(std::string_view operation, const PatternSet& patterns,
                                        ScanPass& pass, Deadline deadline) override;
  Result<std::vector<Reply>> RunEverywhere(std::string_view operation, const Commands& commands,
                                           Deadline deadline) override;
  bool has_slots() const override { return true; }

 protected:
  void SetClaims(std::shared_ptr<Claims> claims) override;
  Result<std::vector<Reply>> Exchange(std::string_view operation, const Commands& commands,
                                      Deadline deadline) override;
  void Reconnect() override;

 private:
  /// Commands of one server, with their places among all.
  struct Share {
    Commands commands;
    std::vector<size_t> places;
    size_t sent = 0;
    size_t answered = 0;
  };
  using Shares = std::map<net::Address, Share>;
  /// Where a command goes that was redirected once, after an ASKING.
  using Asked = std::map<size_t, net::Address>;

  /// The map is there, and every server of it has ended what an earlier leader had open on it.
  Status LearnSlots(std::string_view operation, Deadline deadline);
  Status FetchSlots(std::string_view operation, Deadline deadline);
  Status ClaimEverywhere(std::string_view operation, Deadline deadline);
  Connection& ConnectionTo(const net::Address& address);
  /// The error is transient: nobody serves a slot.
  Result<Shares> Divide(const Commands& commands, const std::vector<size_t>& places,
                        const Asked& asked) const;
  /// All servers at once, window by window. Nothing is sent unless all of them are there.
  Status ExchangeShares(std::string_view operation, Shares& shares, Deadline deadline,
                        std::vector<Reply>& replies);
  /// The places of commands that have to be sent again: those that were redirected or, `moving`,
  /// whose keys are at two servers while their slot moves, and for the sake of order those that
  /// followed them in the same slot.
  std::vector<size_t> Redirected(const Commands& commands, const std::vector<size_t>& places,
                                 const std::vector<Reply>& replies, Asked& asked, bool& moving);

  const std::shared_ptr<const Login> login_;
  const std::vector<net::Address> seeds_;
  std::shared_ptr<Claims> claims_;
  std::map<net::Address, std::unique_ptr<Connection>> connections_;
  std::optional<std::pair<net::Address, Scanner>> scanner_;  ///< Of the server of the last page.
  std::optional<SlotMap> slots_;                             ///< Nothing: it has to be fetched.
  bool moved_ = false;                                       ///< A slot has, and others may have.
};

}  // namespace apex::redis
