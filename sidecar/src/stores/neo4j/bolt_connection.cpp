#include "stores/neo4j/bolt_connection.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

using packstream::Value;
using packstream::Writer;

constexpr uint8_t kHello = 0x01, kGoodbye = 0x02, kReset = 0x0F, kRun = 0x10, kBegin = 0x11,
                  kCommit = 0x12;
constexpr uint8_t kPull = 0x3F, kRoute = 0x66, kLogon = 0x6A;
constexpr uint8_t kSuccess = 0x70, kRecord = 0x71, kIgnored = 0x7E, kFailure = 0x7F;

constexpr std::string_view kMagic = "\x60\x60\xB0\x17";
constexpr BoltVersion kNewest{5, 8};
constexpr BoltVersion kOldest{4, 4};
constexpr BoltVersion kLogonSince{5, 1}, kNotificationsSince{5, 2}, kAgentSince{5, 3};

constexpr std::string_view kUserAgent = "apex/1.0";

/// A reset that takes longer than this is not worth waiting for: a new connection is cheaper.
constexpr std::chrono::milliseconds kResetMax{1000};

std::string Message(size_t fields, uint8_t tag) {
  std::string message;
  Writer(message).StructureHeader(fields, tag);
  return message;
}

std::string BeginMessage(std::string_view database, Deadline deadline) {
  std::string message = Message(1, kBegin);
  Writer out(message);
  out.MapHeader(2);
  out.String("db");
  out.String(database);
  // So that the server gives up with us and does not hold its locks any longer.
  out.String("tx_timeout");
  out.Int(std::max<int64_t>(1, deadline.remaining().count()));
  return message;
}

void AppendRun(const Statement& statement, std::string_view database, std::string& flush) {
  std::string head = Message(3, kRun);
  Writer(head).String(statement.cypher);
  std::string extra;
  Writer out(extra);
  out.MapHeader(database.empty() ? 0 : 1);
  if (!database.empty()) {
    out.String("db");
    out.String(database);
  }
  AppendChunked({head, statement.parameters, extra}, flush);
}

std::string PullMessage(int64_t records = -1) {
  std::string message = Message(1, kPull);
  Writer out(message);
  out.MapHeader(1);
  out.String("n");
  out.Int(records);
  return message;
}

void WriteCredentials(Writer& out, const Credentials& credentials) {
  const bool none = credentials.user.empty() || credentials.password.empty();
  out.String("scheme");
  out.String(none ? "none" : "basic");
  if (none) return;
  out.String("principal");
  out.String(credentials.user);
  out.String("credentials");
  out.String(credentials.password);
}

size_t CredentialFields(const Credentials& credentials) {
  return credentials.user.empty() || credentials.password.empty() ? 1 : 3;
}

void WriteRoutingContext(Writer& out, const Address& address, const Uri& uri) {
  out.MapHeader(1 + uri.routing_context.size());
  out.String("address");
  out.String(ToString(address));
  for (const auto& [name, value] : uri.routing_context) {
    out.String(name);
    out.String(value);
  }
}

StoreError FromFailure(std::string_view operation, const Value& body) {
  // Bolt 5.7 renamed the member.
  std::string_view code = body.FindString("neo4j_code");
  if (code.empty()) code = body.FindString("code");
  return MakeError(operation, Classify(code), code, std::string(body.FindString("message")));
}

StoreError ProtocolError(std::string message) {
  return MakeError("connect", ErrorKind::kTransient, kProtocol, std::move(message));
}

std::optional<net::Tls> TlsOf(Security security) {
  if (security == Security::kPlain) return std::nullopt;
  return net::Tls{.verify = security == Security::kTls};
}

/// Once a commit may have been sent, a connection's failure no longer says that nothing happened.
StoreError OutcomeUnknown(StoreError error, std::string_view operation) {
  error.kind = ErrorKind::kUnknownOutcome;
  error.operation = operation;
  return error;
}

}  // namespace

std::string HandshakeRequest() {
  std::string request{kMagic};
  const auto propose = [&request](BoltVersion version, int range) {
    for (int byte : {0, range, version.minor, version.major})
      request.push_back(static_cast<char>(byte));
  };
  propose(kNewest, kNewest.minor);
  propose(kOldest, 0);
  propose({}, 0);
  propose({}, 0);
  return request;
}

std::optional<BoltVersion> HandshakeAnswer(std::array<uint8_t, 4> answer) {
  const BoltVersion chosen{answer[3], answer[2]};
  const bool offered =
      (chosen.major == kNewest.major && chosen.minor <= kNewest.minor) || chosen == kOldest;
  if (answer[0] != 0 || answer[1] != 0 || !offered) return std::nullopt;
  return chosen;
}

Result<std::unique_ptr<BoltConnection>> BoltConnection::Open(const Address& address, const Uri& uri,
                                                             const Credentials& credentials,
                                                             Deadline deadline) {
  Result<std::unique_ptr<net::Transport>> transport =
      net::Transport::Connect(Store::kNeo4j, address, TlsOf(uri.security), deadline);
  if (!transport.ok()) return transport.error();
  std::unique_ptr<BoltConnection> connection(new BoltConnection(*std::move(transport)));
  if (Status status = connection->Negotiate(deadline); !status.ok()) return status.error();
  if (Status status = connection->Authenticate(address, uri, credentials, deadline); !status.ok())
    return status.error();
  return connection;
}

BoltConnection::~BoltConnection() {
  if (broken_) return;
  std::string goodbye;
  AppendChunked(Message(0, kGoodbye), goodbye);
  // A courtesy: whether it arrives does not matter, and it must not wait.
  Status ignored = transport_->Write(goodbye, Deadline::After(std::chrono::milliseconds(0)));
  (void)ignored.ok();
}

Status BoltConnection::Negotiate(Deadline deadline) {
  if (Status status = transport_->Write(HandshakeRequest(), deadline); !status.ok()) return status;
  std::array<uint8_t, 4> answer{};
  std::string& input = dechunker_.input();
  while (input.size() < answer.size()) {
    if (Status status = transport_->Read(input, deadline); !status.ok()) return status;
  }
  std::copy_n(input.begin(), answer.size(), answer.begin());
  const bool http = input.starts_with("HTTP");
  input.erase(0, answer.size());
  std::optional<BoltVersion> version = HandshakeAnswer(answer);
  if (version) {
    version_ = *version;
    return {};
  }
  broken_ = true;
  return ProtocolError(http ? "the server answers in HTTP; Bolt is usually on port 7687"
                            : "the server speaks neither Bolt 5 nor Bolt 4.4");
}

Status BoltConnection::Authenticate(const Address& address, const Uri& uri,
                                    const Credentials& credentials, Deadline deadline) {
  const bool logon = version_ >= kLogonSince;
  const bool quiet = version_ >= kNotificationsSince;
  const bool agent = version_ >= kAgentSince;
  std::string hello = Message(1, kHello);
  Writer out(hello);
  out.MapHeader(1u + (logon ? 0 : CredentialFields(credentials)) + (quiet ? 1 : 0) +
                (agent ? 1 : 0) + (uri.routing ? 1 : 0));
  out.String("user_agent");
  out.String(kUserAgent);
  if (!logon) WriteCredentials(out, credentials);
  if (quiet) {
    out.String("notifications_minimum_severity");
    out.String("OFF");
  }
  if (agent) {
    out.String("bolt_agent");
    out.MapHeader(1);
    out.String("product");
    out.String(kUserAgent);
  }
  if (uri.routing) {
    out.String("routing");
    WriteRoutingContext(out, address, uri);
  }
  if (Result<Value> answer = Call(std::move(hello), "authenticate", deadline); !answer.ok())
    return answer.error();
  if (!logon) return {};

  std::string message = Message(1, kLogon);
  Writer fields(message);
  fields.MapHeader(CredentialFields(credentials));
  WriteCredentials(fields, credentials);
  if (Result<Value> answer = Call(std::move(message), "authenticate", deadline); !answer.ok())
    return answer.error();
  return {};
}

bool BoltConnection::StillOpen() {
  if (!broken_ && !transport_->ReadAvailable(dechunker_.input()).ok()) broken_ = true;
  return !broken_;
}

TransactionOutcome BoltConnection::RunTransaction(std::string_view database,
                                                  std::span<const Statement> statements,
                                                  std::string_view operation, Deadline deadline) {
  // Room for headers and markers of a statement, and for BEGIN and COMMIT.
  constexpr size_t kSmallMessages = 256;
  size_t bytes = kSmallMessages;
  for (const Statement& statement : statements)
    bytes += ChunkedSize(statement.cypher.size() + statement.parameters.size()) + kSmallMessages;
  std::string flush;
  flush.reserve(bytes);
  AppendChunked(BeginMessage(database, deadline), flush);
  const std::string pull = PullMessage();
  for (const Statement& statement : statements) {
    AppendRun(statement, {}, flush);
    AppendChunked(pull, flush);
  }
  AppendChunked(Message(0, kCommit), flush);

  TransactionOutcome outcome;
  if (Status status = Send(flush, deadline); !status.ok()) {
    outcome.error = OutcomeUnknown(status.error(), operation);
    return outcome;
  }
  const size_t answers = 2 + 2 * statements.size();
  for (size_t i = 0; i < answers; ++i) {
    Records records;
    Result<Answer> answer = ReceiveSummary(records, deadline);
    if (!answer.ok()) {
      outcome.error = OutcomeUnknown(answer.error(), operation);
      return outcome;
    }
    if (answer->tag == kFailure) outcome.error = FromFailure(operation, answer->body);
    const bool is_pull = i > 0 && i + 1 < answers && i % 2 == 0;
    if (answer->tag == kSuccess && is_pull) outcome.results.push_back(std::move(records));
  }
  if (outcome.error) {
    // The answer is known already; a reset that fails only costs the connection.
    Status reset = Reset(deadline);
    broken_ = !reset.ok();
  }
  return outcome;
}

Result<Records> BoltConnection::Run(std::string_view database, const Statement& statement,
                                    std::string_view operation, Deadline deadline) {
  std::string flush;
  AppendRun(statement, database, flush);
  AppendChunked(PullMessage(), flush);
  if (Status status = Send(flush, deadline); !status.ok())
    return OutcomeUnknown(status.error(), operation);

  Records records;
  std::optional<StoreError> error;
  for (int i = 0; i < 2; ++i) {
    Result<Answer> answer = ReceiveSummary(records, deadline);
    if (!answer.ok()) return OutcomeUnknown(answer.error(), operation);
    if (answer->tag == kFailure) error = FromFailure(operation, answer->body);
  }
  if (!error) return records;
  Status reset = Reset(deadline);
  broken_ = !reset.ok();
  return *std::move(error);
}

Status BoltConnection::Stream(std::string_view database, const Statement& statement,
                              std::string_view operation, int64_t page_records,
                              std::chrono::milliseconds timeout,
                              const std::function<Status(Records)>& on_page) {
  std::string flush;
  AppendRun(statement, database, flush);
  std::optional<StoreError> error;
  bool is_pull = false;
  for (bool more = true; more;) {
    AppendChunked(PullMessage(page_records), flush);
    const Deadline deadline = Deadline::After(timeout);
    if (Status status = Send(flush, deadline); !status.ok()) return status.error();
    flush.clear();
    Records records;
    // The first time the answer to RUN comes before that to PULL.
    for (int answers = is_pull ? 1 : 2; answers > 0; --answers) {
      Result<Answer> answer = ReceiveSummary(records, deadline);
      if (!answer.ok()) return answer.error();
      if (answer->tag == kFailure) error = FromFailure(operation, answer->body);
      const Value* has_more = answer->body.Find("has_more");
      const bool* flag = has_more == nullptr ? nullptr : has_more->As<bool>();
      more = flag != nullptr && *flag;
    }
    is_pull = true;
    if (error) {
      Status reset = Reset(deadline);
      broken_ = !reset.ok();
      return *std::move(error);
    }
    if (Status status = on_page(std::move(records)); !status.ok()) {
      broken_ = true;  // What is left of the result is not waited for.
      return status;
    }
  }
  return {};
}

Result<Value> BoltConnection::Route(std::string_view database, const Address& seed, const Uri& uri,
                                    Deadline deadline) {
  std::string message = Message(3, kRoute);
  Writer out(message);
  WriteRoutingContext(out, seed, uri);
  out.ListHeader(0);
  out.MapHeader(1);
  out.String("db");
  out.String(database);
  Result<Value> answer = Call(std::move(message), "route", deadline);
  if (!answer.ok()) return answer;
  const Value* table = answer->Find("rt");
  if (table == nullptr) return ProtocolError("a routing table was expected");
  return *table;
}

Result<Value> BoltConnection::Call(std::string_view message, std::string_view operation,
                                   Deadline deadline) {
  std::string flush;
  AppendChunked(message, flush);
  if (Status status = Send(flush, deadline); !status.ok()) return status.error();
  Records records;
  Result<Answer> answer = ReceiveSummary(records, deadline);
  if (!answer.ok()) return answer.error();
  if (answer->tag == kSuccess) return std::move(answer->body);
  broken_ = true;
  if (answer->tag == kFailure) return FromFailure(operation, answer->body);
  return ProtocolError("an answer was expected");
}

Status BoltConnection::Send(std::string_view bytes, Deadline deadline) {
  Status status = transport_->Write(bytes, deadline);
  broken_ = !status.ok();
  return status;
}

Result<BoltConnection::Answer> BoltConnection::Receive(Deadline deadline) {
  // Anything but a whole, well-formed message leaves the stream at an unknown place.
  broken_ = true;
  for (;;) {
    if (std::optional<std::string> message = dechunker_.Next()) {
      std::string_view bytes = *message;
      std::optional<Value> value = packstream::Decode(bytes);
      const auto* structure = value ? value->As<packstream::Structure>() : nullptr;
      if (structure == nullptr || !bytes.empty()) return ProtocolError("a malformed message");
      broken_ = false;
      return Answer{structure->tag,
                    structure->fields.empty() ? Value{} : structure->fields.front()};
    }
    if (dechunker_.overflowed()) return ProtocolError("a message larger than the client takes");
    if (Status status = transport_->Read(dechunker_.input(), deadline); !status.ok())
      return status.error();
  }
}

Result<BoltConnection::Answer> BoltConnection::ReceiveSummary(Records& records, Deadline deadline) {
  for (;;) {
    Result<Answer> answer = Receive(deadline);
    if (!answer.ok()) return answer;
    if (answer->tag == kIgnored && !failed_) {
      broken_ = true;
      return ProtocolError("a request was ignored though none had failed");
    }
    if (answer->tag == kFailure) failed_ = true;
    if (answer->tag == kSuccess || answer->tag == kFailure || answer->tag == kIgnored)
      return answer;
    const auto* fields = answer->body.As<packstream::List>();
    if (answer->tag != kRecord || fields == nullptr) {
      broken_ = true;
      return ProtocolError("an unknown message");
    }
    records.push_back(*fields);
  }
}

Status BoltConnection::Reset(Deadline deadline) {
  const Deadline soon = Deadline::After(std::min(kResetMax, deadline.remaining()));
  Result<Value> answer = Call(Message(0, kReset), "reset", soon);
  if (!answer.ok()) return answer.error();
  failed_ = false;
  return {};
}

}  // namespace apex::neo4j
