#include "stores/redis/cluster_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <utility>

#include "stores/redis/error.h"

namespace apex::redis {
namespace {

/// So often a command is sent to where it was redirected; a cluster in order needs one or two.
constexpr int kRedirectionsMax = 8;
/// How long a slot that is moving is left alone before a command is sent again.
constexpr std::chrono::milliseconds kSlotMoves{10};
/// With less time left it is not sent any more: without its answer nobody would know what it did.
constexpr std::chrono::milliseconds kLastTry{50};

Connection::Resolve ResolveTo(const net::Address& address) {
  return [address](Deadline) { return Result<net::Address>(address); };
}

StoreError Down(std::string_view operation, std::string why) {
  return ClientError(operation, ErrorKind::kTransient, "CLUSTERDOWN", std::move(why));
}

}  // namespace

ClusterClient::ClusterClient(Login login, std::vector<net::Address> seeds)
    : Client(login.scripts),
      login_(std::make_shared<const Login>(std::move(login))),
      seeds_(std::move(seeds)) {}

void ClusterClient::SetClaims(std::shared_ptr<Claims> claims) {
  claims_ = std::move(claims);
  Reconnect();
}

void ClusterClient::Reconnect() {
  connections_.clear();
  scanner_.reset();
  slots_.reset();
}

Connection& ClusterClient::ConnectionTo(const net::Address& address) {
  std::unique_ptr<Connection>& connection = connections_[address];
  if (!connection) {
    connection = std::make_unique<Connection>(login_, ResolveTo(address));
    if (claims_) connection->Claim(claims_);
  }
  return *connection;
}

Status ClusterClient::LearnSlots(std::string_view operation, Deadline deadline) {
  if (moved_) slots_.reset();
  if (slots_) return {};
  moved_ = false;
  if (Status fetched = FetchSlots(operation, deadline); !fetched.ok()) return fetched;
  std::erase_if(connections_,
                [this](const auto& one) { return !slots_->nodes().contains(one.first); });
  if (!claims_) return {};
  Status claimed = ClaimEverywhere(operation, deadline);
  if (!claimed.ok()) slots_.reset();
  return claimed;
}

/// Asks whoever is known until one answers, each with its share of the time left: a server that
/// hangs must not keep from the others.
Status ClusterClient::FetchSlots(std::string_view operation, Deadline deadline) {
  std::vector<net::Address> nodes;
  for (const auto& [address, connection] : connections_) nodes.push_back(address);
  for (const net::Address& seed : seeds_) {
    if (!connections_.contains(seed)) nodes.push_back(seed);
  }
  std::optional<StoreError> error;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Deadline share =
        Deadline::After(deadline.remaining() / static_cast<int64_t>(nodes.size() - i));
    const auto replies = ConnectionTo(nodes[i]).Exchange(operation, {{"CLUSTER", "SLOTS"}}, share);
    if (!replies.ok()) {
      error = replies.error();
      if (error->native_code == kFenced) return *error;
      continue;
    }
    const Reply& reply = replies->front();
    if (reply.type == Reply::Type::kError) {
      error = ReplyError(operation, reply.text);
    } else if ((slots_ = SlotMap::Parse(reply, nodes[i]))) {
      return {};
    } else {
      error = Down(operation, net::ToString(nodes[i]) + " knows of no server with a slot");
    }
  }
  // Nothing was asked that changes anything.
  error->kind = ErrorKind::kTransient;
  return *error;
}

/// A replica may be promoted with an old leader's connection open; one that is not there now is
/// looked at when it is used.
Status ClusterClient::ClaimEverywhere(std::string_view operation, Deadline deadline) {
  const std::vector<net::Address> primaries = slots_->Primaries();
  const std::set<net::Address> required(primaries.begin(), primaries.end());
  size_t left = slots_->nodes().size();
  for (const net::Address& node : slots_->nodes()) {
    const Deadline share = Deadline::After(deadline.remaining() / static_cast<int64_t>(left--));
    Status opened = ConnectionTo(node).Open(operation, share);
    if (!opened.ok() && (required.contains(node) || opened.error().native_code == kFenced))
      return opened;
  }
  return {};
}

Result<std::vector<Reply>> ClusterClient::Exchange(std::string_view operation,
                                                   const Commands& commands, Deadline deadline) {
  std::vector<Reply> replies(commands.size());
  std::vector<size_t> places(commands.size());
  std::iota(places.begin(), places.end(), 0);
  Asked asked;
  if (Status learnt = LearnSlots(operation, deadline); !learnt.ok()) return learnt.error();
  for (int redirections = 0;; ++redirections) {
    Result<Shares> shares = Divide(commands, places, asked);
    if (!shares.ok()) {
      slots_.reset();
      return shares.error();
    }
    if (Status done = ExchangeShares(operation, *shares, deadline, replies); !done.ok()) {
      slots_.reset();
      return done.error();
    }
    asked.clear();
    bool moving = false;
    places = Redirected(commands, places, replies, asked, moving);
    if (places.empty() || redirections == kRedirectionsMax) return replies;
    if (moving) {
      if (deadline.remaining() < kLastTry) return replies;
      std::this_thread::sleep_for(kSlotMoves);
      redirections = 0;
    }
  }
}

Result<ClusterClient::Shares> ClusterClient::Divide(const Commands& commands,
                                                    const std::vector<size_t>& places,
                                                    const Asked& asked) const {
  Shares shares;
  const std::vector<net::Address> primaries = slots_->Primaries();
  for (const size_t place : places) {
    const std::optional<std::string_view> key = commands.key(place);
    const auto redirected = asked.find(place);
    const net::Address* address = &primaries.front();
    if (redirected != asked.end()) {
      address = &redirected->second;
    } else if (key) {
      address = slots_->PrimaryOf(SlotOf(*key));
      if (address == nullptr)
        return Down("route", fmt::format("no server holds slot {}", SlotOf(*key)));
    }
    Share& share = shares[*address];
    if (redirected != asked.end()) {
      share.commands.Add({"ASKING"});
      share.places.push_back(commands.size());  // Nobody's: its answer is thrown away.
    }
    share.commands.Append(commands, place);
    share.places.push_back(place);
  }
  return shares;
}

Status ClusterClient::ExchangeShares(std::string_view operation, Shares& shares, Deadline deadline,
                                     std::vector<Reply>& replies) {
  for (const auto& [address, share] : shares) {
    if (Status opened = ConnectionTo(address).Open(operation, deadline); !opened.ok())
      return opened;
  }
  std::optional<StoreError> failed;
  for (bool more = true; more && !failed;) {
    more = false;
    for (auto& [address, share] : shares) {
      if (share.sent == share.commands.size()) continue;
      const Result<size_t> end =
          ConnectionTo(address).Send(operation, share.commands, share.sent, deadline);
      if (!end.ok()) {
        failed = end.error();
        break;
      }
      share.sent = *end;
    }
    // What was sent is read also when another server failed: the connections stay usable.
    for (auto& [address, share] : shares) {
      const size_t waiting = share.sent - share.answered;
      if (waiting == 0) continue;
      std::vector<Reply> answers;
      Status received = ConnectionTo(address).Receive(operation, waiting, deadline, answers);
      if (!received.ok()) {
        failed = received.error();
        continue;
      }
      for (Reply& answer : answers) {
        const size_t place = share.places[share.answered++];
        if (place < replies.size()) replies[place] = std::move(answer);
      }
      more = more || share.sent < share.commands.size();
    }
  }
  if (!failed) return {};
  // Other commands than the one that failed may have been carried out.
  if (failed->native_code != kFenced) failed->kind = ErrorKind::kUnknownOutcome;
  return *failed;
}

std::vector<size_t> ClusterClient::Redirected(const Commands& commands,
                                              const std::vector<size_t>& places,
                                              const std::vector<Reply>& replies, Asked& asked,
                                              bool& moving) {
  std::vector<size_t> again;
  std::set<uint16_t> slots;
  for (const size_t place : places) {
    const std::optional<std::string_view> key = commands.key(place);
    if (!key) continue;
    const uint16_t slot = SlotOf(*key);
    const Reply& reply = replies[place];
    const net::Address* const owner = slots_->PrimaryOf(slot);
    const bool refused = reply.type == Reply::Type::kError;
    const auto redirection =
        refused && owner != nullptr ? ParseRedirection(reply.text, *owner) : std::nullopt;
    if (refused && ErrorPrefix(reply.text) == "TRYAGAIN") {
      slots.insert(slot);
      moving = true;
    }
    if (redirection) {
      slots.insert(slot);
      if (redirection->once) {
        asked.emplace(place, redirection->address);
      } else {
        slots_->Move(slot, redirection->address);
        moved_ = true;
      }
    }
    if (slots.contains(slot)) again.push_back(place);
  }
  return again;
}

Result<std::vector<Reply>> ClusterClient::RunEverywhere(std::string_view operation,
                                                        const Commands& commands,
                                                        Deadline deadline) {
  if (Status learnt = LearnSlots(operation, deadline); !learnt.ok()) return learnt.error();
  std::vector<Reply> all;
  for (const net::Address& primary : slots_->Primaries()) {
    auto replies = ConnectionTo(primary).Exchange(operation, commands, deadline);
    if (!replies.ok()) {
      slots_.reset();
      return replies;
    }
    for (Reply& reply : *replies) {
      if (reply.type == Reply::Type::kError) return ReplyError(operation, reply.text);
      all.push_back(std::move(reply));
    }
  }
  return all;
}

Result<std::vector<std::string>> ClusterClient::Scan(std::string_view operation,
                                                     const PatternSet& patterns, ScanPass& pass,
                                                     Deadline deadline) {
  if (Status learnt = LearnSlots(operation, deadline); !learnt.ok()) return learnt.error();
  const std::vector<net::Address> primaries = slots_->Primaries();
  const auto among = [](const auto& addresses, const net::Address& address) {
    return std::ranges::find(addresses, address) != addresses.end();
  };
  if (!pass.server || !among(primaries, *pass.server)) {
    pass.cursor = "0";
    const auto next = std::ranges::find_if(
        primaries, [&](const net::Address& one) { return !among(pass.passed, one); });
    pass.over = next == primaries.end();
    if (pass.over) return std::vector<std::string>();
    pass.server = *next;
  }
  if (!scanner_ || scanner_->first != *pass.server) {
    scanner_.emplace(*pass.server, Scanner(login_, ResolveTo(*pass.server)));
  }
  auto keys = scanner_->second.Page(operation, patterns, pass.cursor, deadline);
  if (!keys.ok()) {
    slots_.reset();
    return keys;
  }
  if (pass.cursor == "0") {
    pass.passed.push_back(*std::exchange(pass.server, std::nullopt));
    // Before the next one is chosen: a replica may have been promoted meanwhile, or a server added.
    slots_.reset();
  }
  return keys;
}

}  // namespace apex::redis
