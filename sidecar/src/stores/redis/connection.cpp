#include "stores/redis/connection.h"

#include <fmt/format.h>
#include <hiredis.h>
#include <openssl/evp.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>

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

size_t Bytes(const Command& command) {
  size_t bytes = 0;
  for (const std::string& argument : command) bytes += argument.size();
  return bytes;
}

/// How many of the first commands go out together. At least one, however large.
size_t WindowSize(std::span<const Command> commands) {
  size_t bytes = 0;
  size_t count = 0;
  while (count < commands.size() && count < kCommandsInFlightMax) {
    bytes += Bytes(commands[count]);
    if (count > 0 && bytes > kBytesInFlightMax) break;
    ++count;
  }
  return count;
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

  void Append(const Command& command) {
    std::vector<const char*> arguments;
    std::vector<size_t> sizes;
    for (const std::string& argument : command) {
      arguments.push_back(argument.data());
      sizes.push_back(argument.size());
    }
    redisAppendCommandArgv(redis.get(), static_cast<int>(command.size()), arguments.data(),
                           sizes.data());
  }

  /// The limit is set before every system call that can wait, to what is left then.
  Status Limit(std::string_view operation, Deadline deadline) {
    if (deadline.expired()) return TimedOut(operation);
    if (redisSetTimeout(redis.get(), ToTimeval(deadline.remaining())) != REDIS_OK)
      return Failure(operation);
    return {};
  }

  Status Flush(std::string_view operation, Deadline deadline) {
    for (int done = 0; done == 0;) {
      if (Status limited = Limit(operation, deadline); !limited.ok()) return limited;
      if (redisBufferWrite(redis.get(), &done) != REDIS_OK) return Failure(operation);
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

Result<std::vector<Reply>> Connection::Run(std::string_view operation,
                                           std::span<const Command> commands, Deadline deadline) {
  Result<std::vector<Reply>> result = RunOnce(operation, commands, deadline);
  if (!result.ok() && result.error().native_code == "NOSCRIPT")
    return RunOnce(operation, commands, deadline);
  return result;
}

Result<std::vector<Reply>> Connection::RunOnce(std::string_view operation,
                                               std::span<const Command> commands,
                                               Deadline deadline) {
  if (!context_) {
    if (Status connected = Connect(operation, deadline); !connected.ok()) return connected.error();
  }
  std::vector<Reply> replies;
  replies.reserve(commands.size());
  std::optional<std::string> refused;
  while (!commands.empty()) {
    const size_t count = WindowSize(commands);
    Status ran = RunWindow(operation, commands.first(count), deadline, replies, refused);
    if (!ran.ok()) {
      context_.reset();  // Replies may still be on their way: this connection can never be told
                         // apart from them again.
      return ran.error();
    }
    commands = commands.subspan(count);
  }
  if (!refused) return replies;
  if (NeedsNewConnection(*refused)) context_.reset();
  return ReplyError(operation, *refused);
}

Status Connection::RunWindow(std::string_view operation, std::span<const Command> commands,
                             Deadline deadline, std::vector<Reply>& replies,
                             std::optional<std::string>& refused) {
  for (const Command& command : commands) context_->Append(command);
  if (Status flushed = context_->Flush(operation, deadline); !flushed.ok()) return flushed;
  for (size_t i = 0; i < commands.size(); ++i) {
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
  if (ready.ok()) return ready;
  // No row has been sent yet, so whatever went wrong here is the server's condition and not a row's
  // fault.
  context_.reset();
  StoreError error = ready.error();
  error.kind = ErrorKind::kTransient;
  return error;
}

Status Connection::Handshake(std::string_view operation, Deadline deadline) {
  std::vector<Command> commands;
  if (!target_.password.empty()) {
    if (target_.user.empty()) {
      commands.push_back({"AUTH", target_.password});
    } else {
      commands.push_back({"AUTH", target_.user, target_.password});
    }
  }
  if (target_.database != 0) commands.push_back({"SELECT", std::to_string(target_.database)});
  for (const std::string& script : scripts_) commands.push_back({"SCRIPT", "LOAD", script});

  // One by one: a refused AUTH must be the error that is told, not the refusals that follow from
  // it.
  for (const Command& command : commands) {
    std::vector<Reply> replies;
    std::optional<std::string> refused;
    if (Status ran = RunWindow(operation, {&command, 1}, deadline, replies, refused); !ran.ok())
      return ran;
    if (refused) return ReplyError(operation, *refused);
  }
  return {};
}

}  // namespace apex::redis
