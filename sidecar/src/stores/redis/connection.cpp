#include "stores/redis/connection.h"

#include <fmt/format.h>
#include <hiredis.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "stores/redis/claim.h"
#include "stores/redis/error.h"

namespace apex::redis {
namespace {

/// Commands and bytes sent before their replies are read: enough to hide the round trip, little
/// enough that the server buffers no more than this for us.
constexpr size_t kCommandsInFlightMax = 512;
constexpr size_t kBytesInFlightMax = 4UL * 1024 * 1024;

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using ReplyPtr = std::unique_ptr<redisReply, ReplyDeleter>;

/// Zero would mean "no limit" to the socket.
timeval ToTimeval(std::chrono::milliseconds span) {
  const auto ms = std::max<int64_t>(span.count(), 1);
  return {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

Reply Convert(const redisReply& raw) {
  Reply reply;
  switch (raw.type) {
    case REDIS_REPLY_INTEGER:
      reply.type = Reply::Type::kInteger;
      reply.integer = raw.integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      reply.type = Reply::Type::kText;
      reply.text.assign(raw.str, raw.len);
      break;
    case REDIS_REPLY_ARRAY:
      reply.type = Reply::Type::kArray;
      for (size_t i = 0; i < raw.elements; ++i) reply.elements.push_back(Convert(*raw.element[i]));
      break;
    default: break;
  }
  return reply;
}

std::string Sha1(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

/// The end of the commands from `first` on that go out together. At least one, however large.
size_t WindowEnd(const Commands& commands, size_t first) {
  const size_t last = std::min(commands.size(), first + kCommandsInFlightMax);
  const size_t bytes_end = commands.start(first) + kBytesInFlightMax;
  size_t end = first + 1;
  while (end < last && commands.start(end + 1) <= bytes_end) ++end;
  return end;
}

}  // namespace

struct Connection::Context {
  std::unique_ptr<redisContext, ContextDeleter> redis;

  /// Called after hiredis reported a failure. The socket's own time limit shows as EAGAIN.
  StoreError Failure(std::string_view operation) const {
    const bool timed_out = redis->err == REDIS_ERR_IO &&
                           (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT);
    if (timed_out) return TimedOut(operation);
    return ClientError(operation, ErrorKind::kUnknownOutcome, kConnectionLost, redis->errstr);
  }

  static StoreError TimedOut(std::string_view operation) {
    return ClientError(operation, ErrorKind::kUnknownOutcome, kTimeout,
                       "no answer within the deadline");
  }

  /// The limit is set before every system call that can wait, to what is left then.
  Status Limit(std::string_view operation, Deadline deadline) {
    if (deadline.expired()) return TimedOut(operation);
    if (redisSetTimeout(redis.get(), ToTimeval(deadline.remaining())) != REDIS_OK)
      return Failure(operation);
    return {};
  }

  /// Past hiredis's own buffer, which would be one copy more.
  Status Send(std::string_view operation, std::string_view bytes, Deadline deadline) {
    while (!bytes.empty()) {
      if (Status limited = Limit(operation, deadline); !limited.ok()) return limited;
      const ssize_t sent = send(redis->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<size_t>(sent));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT) {
        return TimedOut(operation);
      } else if (errno != EINTR) {
        return ClientError(operation, ErrorKind::kUnknownOutcome, kConnectionLost,
                           std::system_category().message(errno));
      }
    }
    return {};
  }

  Result<ReplyPtr> Read(std::string_view operation, Deadline deadline) {
    for (;;) {
      void* raw = nullptr;
      if (redisGetReplyFromReader(redis.get(), &raw) != REDIS_OK) return Failure(operation);
      if (raw != nullptr) return ReplyPtr(static_cast<redisReply*>(raw));
      if (Status limited = Limit(operation, deadline); !limited.ok()) return limited.error();
      if (redisBufferRead(redis.get()) != REDIS_OK) return Failure(operation);
    }
  }
};

Connection::Connection(Target target, std::vector<std::string> scripts)
    : target_(std::move(target)), scripts_(std::move(scripts)) {
  std::ranges::transform(scripts_, std::back_inserter(digests_), Sha1);
}

Connection::~Connection() = default;

void Connection::Claim(const Fence& fence) {
  if (!fence.confirm) return;
  const bool known = fence_ && fence_->epoch == fence.epoch && fence_->pipeline == fence.pipeline &&
                     fence_->database == fence.database;
  if (known) return;
  fence_ = fence;
  context_.reset();
}

Result<std::vector<Reply>> Connection::Run(std::string_view operation, const Commands& commands,
                                           Deadline deadline) {
  Result<std::vector<Reply>> result = RunOnce(operation, commands, deadline);
  if (!result.ok() && result.error().native_code == "NOSCRIPT")
    return RunOnce(operation, commands, deadline);
  return result;
}

Result<std::vector<Reply>> Connection::RunOnce(std::string_view operation, const Commands& commands,
                                               Deadline deadline) {
  if (!context_) {
    if (Status connected = Connect(operation, deadline); !connected.ok()) return connected.error();
  }
  std::vector<Reply> replies;
  replies.reserve(commands.size());
  std::optional<std::string> refused;
  for (size_t first = 0; first < commands.size();) {
    const size_t end = WindowEnd(commands, first);
    Status ran = RunWindow(operation, commands, first, end, deadline, replies, refused);
    if (!ran.ok()) {
      context_.reset();  // Replies may still be on their way: this connection can never be told
                         // apart from them again.
      return ran.error();
    }
    first = end;
  }
  if (!refused) return replies;
  if (NeedsNewConnection(*refused)) context_.reset();
  return ReplyError(operation, *refused);
}

Status Connection::RunWindow(std::string_view operation, const Commands& commands, size_t first,
                             size_t end, Deadline deadline, std::vector<Reply>& replies,
                             std::optional<std::string>& refused) {
  const size_t begin = commands.start(first);
  const std::string_view bytes = commands.bytes().substr(begin, commands.start(end) - begin);
  if (Status sent = context_->Send(operation, bytes, deadline); !sent.ok()) return sent;
  for (size_t i = first; i < end; ++i) {
    Result<ReplyPtr> reply = context_->Read(operation, deadline);
    if (!reply.ok()) return reply.error();
    const redisReply& raw = **reply;
    if (raw.type == REDIS_REPLY_ERROR) {
      std::string words(raw.str, raw.len);
      if (!refused || Classify(words) == ErrorKind::kTransient) refused = std::move(words);
      replies.emplace_back();
    } else {
      replies.push_back(Convert(raw));
    }
  }
  return {};
}

Status Connection::Connect(std::string_view operation, Deadline deadline) {
  const auto unreachable = [&](std::string_view why) {
    return ClientError(operation, ErrorKind::kTransient, kUnreachable,
                       fmt::format("cannot connect to {}:{}: {}", target_.host, target_.port, why));
  };
  if (deadline.expired()) return unreachable("the deadline has passed");
  auto context = std::make_unique<Context>();
  context->redis.reset(
      redisConnectWithTimeout(target_.host.c_str(), target_.port, ToTimeval(deadline.remaining())));
  if (!context->redis) return unreachable("out of memory");
  if (context->redis->err != 0) return unreachable(context->redis->errstr);
  redisEnableKeepAlive(context->redis.get());

  context_ = std::move(context);
  Status ready = Handshake(operation, deadline);
  if (ready.ok() && fence_) ready = EndOlderClaims(operation, deadline);
  if (ready.ok()) return ready;
  // No row has been sent yet, so whatever went wrong here is the server's condition and not a row's
  // fault.
  context_.reset();
  StoreError error = ready.error();
  if (error.native_code != kFenced) error.kind = ErrorKind::kTransient;
  return error;
}

Status Connection::Handshake(std::string_view operation, Deadline deadline) {
  Commands commands;
  if (!target_.password.empty()) {
    if (target_.user.empty()) {
      commands.Add({"AUTH", target_.password});
    } else {
      commands.Add({"AUTH", target_.user, target_.password});
    }
  }
  if (target_.database != 0) commands.Add({"SELECT", std::to_string(target_.database)});
  for (const std::string& script : scripts_) commands.Add({"SCRIPT", "LOAD", script});

  // One by one: a refused AUTH must be the error that is told, not the refusals that follow from
  // it.
  for (size_t i = 0; i < commands.size(); ++i) {
    std::vector<Reply> replies;
    std::optional<std::string> refused;
    Status ran = RunWindow(operation, commands, i, i + 1, deadline, replies, refused);
    if (!ran.ok()) return ran;
    if (refused) return ReplyError(operation, *refused);
  }
  return {};
}

// The order is the proof. The name is there before the epoch is confirmed, and a successor raises
// the epoch before it looks for names: either it finds this connection and ends it, or the
// confirmation fails.
Status Connection::EndOlderClaims(std::string_view operation, Deadline deadline) {
  const std::string name = ClaimName(*fence_, ++claims_);
  const auto listed = RunHere(
      operation, {{"CLIENT", "SETNAME", name}, {"CLIENT", "LIST", "TYPE", "normal"}}, deadline);
  if (!listed.ok()) return listed.error();
  Commands kills;
  for (const std::string& id : OlderClaims(listed->back().text, *fence_, claims_))
    kills.Add({"CLIENT", "KILL", "ID", id});
  if (!kills.empty()) {
    if (const auto killed = RunHere(operation, kills, deadline); !killed.ok())
      return killed.error();
  }
  return fence_->confirm(deadline);
}

Result<std::vector<Reply>> Connection::RunHere(std::string_view operation, const Commands& commands,
                                               Deadline deadline) {
  std::vector<Reply> replies;
  std::optional<std::string> refused;
  Status ran = RunWindow(operation, commands, 0, commands.size(), deadline, replies, refused);
  if (!ran.ok()) return ran.error();
  if (refused) return ReplyError(operation, *refused);
  return replies;
}

}  // namespace apex::redis
