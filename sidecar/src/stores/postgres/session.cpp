#include "stores/postgres/session.h"

#include <libpq-fe.h>
#include <poll.h>

#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "stores/postgres/classifier.h"

namespace apex::postgres {
namespace {

constexpr int kBinary = 1;
/// timestamptz counts from 2000-01-01.
constexpr int64_t kPostgresEpochMicros = 946684800000000;
constexpr int kConnectionCheckSince = 140000;

/// What the session must not inherit from the role, the database or the server's configuration. A
/// backend whose client has gone away notices within a second, so that an abandoned statement does
/// not run to its end.
constexpr const char* kSettings =
    "SELECT set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false),"
    " set_config('idle_in_transaction_session_timeout', '0', false), "
    "set_config('client_min_messages', 'warning', false)";
constexpr const char* kCheckConnection =
    "SELECT set_config('client_connection_check_interval', '1s', false)";

/// Network byte order, 1 to 8 bytes.
uint64_t BigEndian(const char* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

enum class Ready { kYes, kInterrupted, kDeadline };

/// Waits until `socket` has one of `events` or `interrupt_fd` (-1: none) is readable.
Ready Await(int socket, short events, int interrupt_fd, Deadline deadline) {
  std::array<pollfd, 2> fds = {{{socket, events, 0}, {interrupt_fd, POLLIN, 0}}};
  for (;;) {
    const auto wait_ms = std::min<int64_t>(deadline.remaining().count(), 60'000);
    const int ready = poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
    if (ready > 0) return fds[0].revents != 0 ? Ready::kYes : Ready::kInterrupted;
    if (ready < 0 && errno != EINTR)
      return Ready::kYes;  // libpq will say what is wrong with the socket.
    if (deadline.expired()) return Ready::kDeadline;
  }
}

void IgnoreNotice(void* /*unused*/, const PGresult* /*unused*/) {}

}  // namespace

void Rows::Clear::operator()(pg_result* result) const { PQclear(result); }

int Rows::size() const { return PQntuples(result_.get()); }

bool Rows::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Rows::Bytes(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

std::optional<std::string> Rows::TextIfAny(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return Text(row, column);
}

int64_t Rows::Int(int row, int column) const {
  const std::string_view bytes = Bytes(row, column);
  const uint64_t value = BigEndian(bytes.data(), bytes.size());
  switch (bytes.size()) {
    case 0: return 0;
    case 2: return static_cast<int16_t>(value);
    case 4: return static_cast<int32_t>(value);
    case 8: return std::bit_cast<int64_t>(value);
    default: assert(false); return 0;
  }
}

uint32_t Rows::Oid(int row, int column) const { return static_cast<uint32_t>(Int(row, column)); }

bool Rows::Bool(int row, int column) const {
  const std::string_view bytes = Bytes(row, column);
  return !bytes.empty() && bytes.front() != 0;
}

int64_t Rows::UnixMicros(int row, int column) const {
  return Int(row, column) + kPostgresEpochMicros;
}

std::vector<std::string> Rows::Texts(int row, int column) const {
  // Dimensions, a flag and the element type; for each dimension its length and lower bound; for
  // each element its length
  // (-1: NULL) and bytes.
  constexpr size_t kWord = 4;
  constexpr size_t kHeader = 5 * kWord;
  std::string_view rest = Bytes(row, column);
  std::vector<std::string> texts;
  if (rest.size() < kHeader) return texts;
  rest.remove_prefix(kHeader);
  while (rest.size() >= kWord) {
    const auto length = static_cast<int32_t>(BigEndian(rest.data(), kWord));
    rest.remove_prefix(kWord);
    if (length < 0) continue;
    texts.emplace_back(rest.substr(0, static_cast<size_t>(length)));
    rest.remove_prefix(std::min(rest.size(), static_cast<size_t>(length)));
  }
  return texts;
}

void Session::Finish::operator()(pg_conn* connection) const { PQfinish(connection); }

Session::Session(ConnectOptions options) : options_(std::move(options)) {}

Session::Session(ConnectOptions options, std::string channel)
    : options_(std::move(options)), channel_(std::move(channel)) {}

Result<Rows> Session::Query(const char* operation, const char* sql,
                            const std::vector<Parameter>& parameters, Deadline deadline) {
  if (!StillThere()) {
    if (Status connected = Connect(deadline); !connected.ok()) return connected.error();
  }
  return Run(operation, sql, parameters, deadline);
}

Result<bool> Session::AwaitNotification(int interrupt_fd, Deadline deadline) {
  for (;;) {
    if (connection_) {
      if (PQconsumeInput(connection_.get()) == 0) return Lost("listen");
      bool notified = false;
      while (PGnotify* notification = PQnotifies(connection_.get())) {
        PQfreemem(notification);
        notified = true;
      }
      if (notified) return true;
    }
    // poll() skips a negative descriptor, so without a connection this is a plain wait.
    if (Await(connection_ ? PQsocket(connection_.get()) : -1, POLLIN, interrupt_fd, deadline) !=
        Ready::kYes)
      return false;
  }
}

Status Session::Connect(Deadline deadline) {
  // What stands before the DSN are defaults that it may override, what stands after it overrides
  // the DSN.
  std::vector<const char*> keywords = {"client_encoding", "tcp_user_timeout", "keepalives_idle"};
  std::vector<const char*> values = {"UTF8", "10000", "10"};
  const auto add = [&](const char* keyword, const char* value) {
    keywords.push_back(keyword);
    values.push_back(value);
  };
  if (options_.to_primary) add("target_session_attrs", "read-write");
  add("dbname", options_.dsn.c_str());
  add("application_name", options_.application_name.c_str());
  if (!options_.password.empty()) add("password", options_.password.c_str());
  add(nullptr, nullptr);

  connection_.reset(PQconnectStartParams(keywords.data(), values.data(), /*expand_dbname=*/1));
  if (!connection_)
    return StoreError{Store::kPostgres, "connect",       ErrorKind::kTransient,
                      "08001",          "out of memory", {}};
  PQsetErrorVerbosity(connection_.get(), PQERRORS_VERBOSE);
  PQsetNoticeReceiver(connection_.get(), IgnoreNotice, nullptr);

  PostgresPollingStatusType next =
      PQstatus(connection_.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (next != PGRES_POLLING_OK) {
    if (next == PGRES_POLLING_FAILED) {
      StoreError error = ClassifyConnect(PQerrorMessage(connection_.get()));
      connection_.reset();
      return error;
    }
    const short events = next == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
    if (Await(PQsocket(connection_.get()), events, -1, deadline) != Ready::kYes) {
      return TimedOut("connect", ErrorKind::kTransient);
    }
    next = PQconnectPoll(connection_.get());
  }
  PQsetErrorVerbosity(connection_.get(), PQERRORS_DEFAULT);
  return SetUp(deadline);
}

Status Session::SetUp(Deadline deadline) {
  std::vector<std::string> statements = {kSettings};
  if (PQserverVersion(connection_.get()) >= kConnectionCheckSince)
    statements.emplace_back(kCheckConnection);
  if (!channel_.empty()) statements.push_back("LISTEN " + channel_);
  for (const std::string& statement : statements) {
    if (Result<Rows> done = Run("connect", statement.c_str(), {}, deadline); !done.ok()) {
      connection_.reset();
      StoreError error = done.error();
      if (error.kind == ErrorKind::kUnknownOutcome) error.kind = ErrorKind::kTransient;
      return error;
    }
  }
  return {};
}

Result<Rows> Session::Run(const char* operation, const char* sql,
                          const std::vector<Parameter>& parameters, Deadline deadline) {
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const Parameter& each : parameters) values.push_back(each ? each->c_str() : nullptr);
  // In blocking mode libpq could wait here for the server to take a large parameter.
  PQsetnonblocking(connection_.get(), 1);
  if (PQsendQueryParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr,
                        values.data(), nullptr, nullptr, kBinary) == 0) {
    return Lost(operation);
  }
  if (Status sent = Flush(operation, deadline); !sent.ok()) return sent.error();
  return Receive(operation, deadline);
}

Status Session::Flush(const char* operation, Deadline deadline) {
  for (;;) {
    const int pending = PQflush(connection_.get());
    if (pending == 0) return {};
    if (pending < 0) return Lost(operation);
    // The server may need us to read before it takes more.
    if (Await(PQsocket(connection_.get()), POLLIN | POLLOUT, -1, deadline) != Ready::kYes) {
      return TimedOut(operation, ErrorKind::kUnknownOutcome);
    }
    if (PQconsumeInput(connection_.get()) == 0) return Lost(operation);
  }
}

Result<Rows> Session::Receive(const char* operation, Deadline deadline) {
  std::optional<Rows> rows;
  std::optional<StoreError> error;
  for (;;) {
    while (PQisBusy(connection_.get()) != 0) {
      if (Await(PQsocket(connection_.get()), POLLIN, -1, deadline) != Ready::kYes) {
        return TimedOut(operation, ErrorKind::kUnknownOutcome);
      }
      if (PQconsumeInput(connection_.get()) == 0) return Lost(operation);
    }
    PGresult* result = PQgetResult(connection_.get());
    if (result == nullptr) break;
    Rows received(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      rows = std::move(received);
    } else if (!error) {
      // The first error is the cause; that the connection is gone comes after it.
      const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      const char* words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
      error = Classify(operation, sqlstate == nullptr ? "" : sqlstate,
                       words == nullptr ? PQresultErrorMessage(result) : words);
    }
  }
  if (PQstatus(connection_.get()) == CONNECTION_BAD) {
    if (!error) return Lost(operation);
    connection_.reset();
  }
  if (error) return *error;
  return std::move(*rows);
}

StoreError Session::Lost(const char* operation) {
  StoreError error = Classify(operation, "", PQerrorMessage(connection_.get()));
  connection_.reset();
  return error;
}

StoreError Session::TimedOut(const char* operation, ErrorKind kind) {
  // The session's state is unknown too, so it is not used again.
  connection_.reset();
  return {Store::kPostgres, operation, kind, "apex.deadline", "no answer within the deadline",
          std::nullopt};
}

bool Session::StillThere() {
  if (!connection_) return false;
  // A server that went away between two calls shows as a readable socket; finding it here spares an
  // unknown outcome. Its last words come before the end of the stream, hence the loop.
  pollfd fd{PQsocket(connection_.get()), POLLIN, 0};
  while (connection_ && poll(&fd, 1, 0) > 0) {
    if (PQconsumeInput(connection_.get()) == 0) connection_.reset();
  }
  return connection_ != nullptr;
}

}  // namespace apex::postgres
