#include "stores/redis/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/errors.h"
#include "stores/redis/error.h"

namespace apex::redis {
namespace {

/// Commands and bytes sent before their replies are read: enough to hide the round trip, little
/// enough that the server buffers no more than this for us.
constexpr size_t kCommandsInFlightMax = 512;
constexpr size_t kBytesInFlightMax = 4UL * 1024 * 1024;

/// The end of the commands from `first` on that go out together. At least one, however large.
size_t WindowEnd(const Commands& commands, size_t first) {
  const size_t last = std::min(commands.size(), first + kCommandsInFlightMax);
  const size_t bytes_end = commands.start(first) + kBytesInFlightMax;
  size_t end = first + 1;
  while (end < last && commands.start(end + 1) <= bytes_end) ++end;
  return end;
}

/// Once something was sent, a connection's failure does not say that nothing happened.
StoreError OutcomeUnknown(StoreError error, std::string_view operation) {
  error.kind = ErrorKind::kUnknownOutcome;
  error.operation = operation;
  return error;
}

/// RESP3 is not known here: a server before Redis 6, or one that HELLO was taken from.
bool SpeaksOlderProtocol(std::string_view refusal) {
  return refusal.starts_with("ERR unknown command") || refusal.starts_with("NOPROTO");
}

}  // namespace

void Connection::Claim(std::shared_ptr<Claims> claims) {
  claims_ = std::move(claims);
  Close();
}

void Connection::Close() {
  transport_.reset();
  reader_ = {};
}

Status Connection::Open(std::string_view operation, Deadline deadline) {
  if (transport_) return {};
  const auto unreachable = [&](std::string_view where, std::string_view why) {
    return ClientError(operation, ErrorKind::kTransient, kUnreachable,
                       fmt::format("cannot connect to {}: {}", where, why));
  };
  Result<net::Address> address = resolve_(deadline);
  if (!address.ok()) return address.error();
  if (deadline.expired()) return unreachable(net::ToString(*address), "the deadline has passed");
  auto connected = net::Transport::Connect(Store::kRedis, *address, login_->tls, deadline);
  if (!connected.ok()) {
    if (connected.error().native_code == net::kTlsFailed) return connected.error();
    return unreachable(net::ToString(*address), connected.error().message);
  }
  transport_ = *std::move(connected);
  Status ready = Handshake(operation, deadline);
  if (ready.ok()) return ready;
  // No row has been sent yet, so whatever went wrong here is the server's condition and not a row's
  // fault.
  Close();
  StoreError error = ready.error();
  if (error.native_code != kFenced) error.kind = ErrorKind::kTransient;
  return error;
}

Result<size_t> Connection::Send(std::string_view operation, const Commands& commands, size_t first,
                                Deadline deadline) {
  if (Status opened = Open(operation, deadline); !opened.ok()) return opened.error();
  const size_t end = WindowEnd(commands, first);
  const size_t begin = commands.start(first);
  const std::string_view bytes = commands.bytes().substr(begin, commands.start(end) - begin);
  if (Status sent = transport_->Write(bytes, deadline); !sent.ok()) {
    Close();
    return OutcomeUnknown(sent.error(), operation);
  }
  return end;
}

Status Connection::Receive(std::string_view operation, size_t count, Deadline deadline,
                           std::vector<Reply>& replies) {
  const auto fail = [this](StoreError error) {
    // Replies may still be on their way: they could never be told apart from later ones.
    Close();
    return Status(std::move(error));
  };
  while (count > 0) {
    Reply reply;
    switch (reader_.Next(reply)) {
      case ReplyReader::State::kReply:
        replies.push_back(std::move(reply));
        --count;
        break;
      case ReplyReader::State::kNeedsMore:
        if (Status read = transport_->Read(reader_.incoming(), deadline); !read.ok())
          return fail(OutcomeUnknown(read.error(), operation));
        break;
      case ReplyReader::State::kBroken:
        return fail(ClientError(operation, ErrorKind::kUnknownOutcome, kProtocol,
                                "the server does not answer as a Redis does"));
    }
  }
  return {};
}

Result<std::vector<Reply>> Connection::Exchange(std::string_view operation,
                                                const Commands& commands, Deadline deadline) {
  std::vector<Reply> replies;
  replies.reserve(commands.size());
  for (size_t first = 0; first < commands.size();) {
    const Result<size_t> end = Send(operation, commands, first, deadline);
    if (!end.ok()) return end.error();
    if (Status received = Receive(operation, *end - first, deadline, replies); !received.ok())
      return received.error();
    first = *end;
  }
  return replies;
}

Result<std::vector<Reply>> Connection::Ask(std::string_view operation, const Commands& commands,
                                           Deadline deadline) {
  Result<std::vector<Reply>> replies = Exchange(operation, commands, deadline);
  if (!replies.ok()) return replies;
  for (const Reply& reply : *replies) {
    if (reply.type == Reply::Type::kError) return ReplyError(operation, reply.text);
  }
  return replies;
}

Status Connection::Handshake(std::string_view operation, Deadline deadline) {
  if (Status in = LogIn(operation, deadline); !in.ok()) return in;
  Commands commands;
  if (login_->primary) commands.Add({"ROLE"});
  if (login_->database != 0) commands.Add({"SELECT", std::to_string(login_->database)});
  for (const std::string& script : login_->scripts) commands.Add({"SCRIPT", "LOAD", script});
  if (!commands.empty()) {
    const auto replies = Ask(operation, commands, deadline);
    if (!replies.ok()) return replies.error();
    const std::vector<Reply>& role = replies->front().elements;
    if (login_->primary && (role.empty() || role.front().text != "master")) {
      return ClientError(operation, ErrorKind::kTransient, kUnreachable,
                         "the sentinels still name a server that is no primary any more");
    }
  }
  return claims_ ? EndOlderClaims(operation, deadline) : Status();
}

// A refused login must be the error that is told, not the refusals that follow from it.
Status Connection::LogIn(std::string_view operation, Deadline deadline) {
  const bool secret = !login_->password.empty();
  if (UnderstandsResp3()) {
    const std::string user = login_->user.empty() ? "default" : login_->user;
    Commands hello;
    if (secret) {
      hello.Add({"HELLO", "3", "AUTH", user, login_->password});
    } else {
      hello.Add({"HELLO", "3"});
    }
    const auto greeted = Exchange(operation, hello, deadline);
    if (!greeted.ok()) return greeted.error();
    const Reply& greeting = greeted->front();
    if (greeting.type != Reply::Type::kError) return {};
    if (!SpeaksOlderProtocol(greeting.text)) return ReplyError(operation, greeting.text);
  }
  if (!secret) return {};
  Commands auth;
  if (login_->user.empty()) {
    auth.Add({"AUTH", login_->password});
  } else {
    auth.Add({"AUTH", login_->user, login_->password});
  }
  const auto admitted = Ask(operation, auth, deadline);
  return admitted.ok() ? Status() : Status(admitted.error());
}

// The order is the proof. The name is there before the epoch is confirmed, and a successor raises
// the epoch before it looks for names: either it finds this connection and ends it, or the
// confirmation fails.
Status Connection::EndOlderClaims(std::string_view operation, Deadline deadline) {
  const Fence& fence = claims_->fence;
  const int64_t number = ++claims_->made;
  const std::string name = ClaimName(fence, number);
  const auto listed =
      Ask(operation, {{"CLIENT", "SETNAME", name}, {"CLIENT", "LIST", "TYPE", "normal"}}, deadline);
  if (!listed.ok()) return listed.error();
  Commands kills;
  for (const std::string& id : OlderClaims(listed->back().text, fence, number))
    kills.Add({"CLIENT", "KILL", "ID", id});
  if (!kills.empty()) {
    if (const auto killed = Ask(operation, kills, deadline); !killed.ok()) return killed.error();
  }
  return fence.confirm(deadline);
}

}  // namespace apex::redis
