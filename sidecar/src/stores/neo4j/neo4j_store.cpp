#include "stores/neo4j/neo4j_store.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/packstream.h"

namespace apex::neo4j {
namespace {

constexpr std::string_view kDeadlock = "Neo.TransientError.Transaction.DeadlockDetected";
constexpr std::string_view kDivisionByZero = "Neo.ClientError.Statement.ArithmeticError";

constexpr int kDeadlockAttemptsMax = 5;
constexpr int kDeadlockPauseMinMs = 5;
constexpr int kDeadlockPauseMaxMs = 50;

/// Plans kept between calls; mappings change rarely, and the plans of events long settled are
/// forgotten together.
constexpr size_t kPlansMax = 1024;

std::string NoParameters() {
  std::string parameters;
  packstream::Writer(parameters).MapHeader(0);
  return parameters;
}

/// The first statement of a transaction that writes.
Statement FenceStatement(const Fence& fence, int64_t claim, int64_t position) {
  return Statement{
      CheckFence(),
      PipelineParameters(fence.pipeline,
                         {{"epoch", fence.epoch}, {"claim", claim}, {"position", position}}),
      1};
}

/// What a statement counted; -1 when it answered something else.
int64_t Counted(const Records& records) {
  if (records.size() != 1 || records.front().size() != 1) return -1;
  const auto* count = records.front().front().As<int64_t>();
  return count == nullptr ? -1 : *count;
}

/// Rows of a statement that only its answer tells.
constexpr int64_t kUntold = -1;
/// Nodes or relationships that one transaction of a truncation takes away.
constexpr int64_t kTruncatedRowsMax = 5000;

/// Rule E11: an acknowledgement is not proof.
Status CheckCounts(std::span<const Statement> statements, const TransactionOutcome& outcome,
                   std::string_view operation) {
  for (size_t i = 0; i < statements.size(); ++i) {
    const int64_t counted = i < outcome.results.size() ? Counted(outcome.results[i]) : -1;
    if (statements[i].rows == kUntold ? counted < 0 : counted != statements[i].rows) {
      return MakeError(operation, ErrorKind::kUnknownOutcome, kShortfall,
                       "sent " + std::to_string(statements[i].rows) + " rows, Neo4j went through " +
                           std::to_string(counted));
    }
  }
  return {};
}

Status ToStatus(const Result<int64_t>& counted) {
  return counted.ok() ? Status() : Status(counted.error());
}

constexpr std::string_view kIndexNameTaken = "Neo.ClientError.Schema.IndexWithNameAlreadyExists";
// What Neo4j calls a constraint that was made without a name, and its index.
constexpr std::string_view kGeneratedName = "constraint_";

/// The 'name' in a message of the server; empty when there is none.
std::string QuotedName(std::string_view message) {
  const size_t from = message.find('\'');
  const size_t to = message.rfind('\'');
  return from == to ? "" : std::string(message.substr(from + 1, to - from - 1));
}

}  // namespace

Neo4jStore::Neo4jStore(Options options) : database_(options.database) {
  Result<Uri> uri = ParseUri(options.uri);
  if (!uri.ok()) {
    configuration_error_ = uri.error();
    return;
  }
  router_.emplace(*std::move(uri),
                  Credentials{std::move(options.user), std::move(options.password)}, database_);
}

Status Neo4jStore::Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                           Deadline deadline) {
  std::set<std::string> schema{std::string(PipelineConstraint())};
  for (const MappingPtr& mapping : mappings) {
    for (std::string& statement : SchemaOf(*mapping)) schema.insert(std::move(statement));
  }
  for (const std::string& statement : schema) {
    if (Status status = MakeSchema(statement, deadline); !status.ok()) return status;
  }
  // An index that is still being filled would be passed over by the planner.
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(deadline.remaining()).count();
  const std::string await = "CALL db.awaitIndexes(" + std::to_string(seconds) + ")";
  if (Status status = RunAlone(await, "prepare", deadline); !status.ok()) return status;

  Result<BoltConnection*> connection = Connected(deadline);
  if (!connection.ok()) return connection.error();
  // A transaction of ours that was given up and has not begun yet does not know this one.
  claim_ = std::uniform_int_distribution<int64_t>(1)(random_);
  const std::vector<Statement> claim{
      {ClaimFence(),
       PipelineParameters(fence.pipeline, {{"epoch", fence.epoch}, {"claim", claim_}}), 1}};
  return ToStatus(RunFenced(claim, "claim", deadline));
}

Status Neo4jStore::Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) {
  ForgetOldPlans();
  std::vector<RowTask> tasks;
  int64_t position = 0;
  for (const RowWrite& row : rows) {
    position = std::max(position, row.seq);
    const GraphPlan* plan = PlanOf(row.newest->mapping);
    if (plan == nullptr) continue;
    RowTask task{plan, &row.newest->row, std::nullopt, -1, row.seq - 1, row.seq};
    if (row.newest->op != Operation::kDelete) {
      if (!row.newest->after) {
        return MakeError(
            "write", ErrorKind::kPermanent, kUnencodable,
            "row " + row.newest->row.key + " of " + plan->mapping->table + " has no image");
      }
      task.image = *row.newest->after;
    }
    tasks.push_back(task);
  }
  return Apply(fence, std::move(tasks), position, "write", deadline);
}

Result<bool> Neo4jStore::Truncate(const Fence& fence, const Change& truncation, Deadline deadline) {
  ForgetOldPlans();
  const GraphPlan* plan = PlanOf(truncation.mapping);
  if (plan == nullptr) return true;
  if (Result<BoltConnection*> connection = Connected(deadline); !connection.ok())
    return connection.error();
  const std::vector<Statement> statements{
      FenceStatement(fence, claim_, truncation.seq),
      Statement{plan->truncate, TruncateParameters(truncation.seq, kTruncatedRowsMax), kUntold}};
  Result<int64_t> counted = RunFenced(statements, "truncate", deadline);
  if (!counted.ok()) return counted.error();
  return *counted < kTruncatedRowsMax;
}

Status Neo4jStore::Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) {
  ForgetOldPlans();
  std::vector<RowTask> tasks;
  for (const RowUndo& row : rows) {
    const GraphPlan* plan = PlanOf(row.mapping);
    if (plan == nullptr) continue;
    // Everything above the accepted version, up to the failed one, was written by the saga that is
    // undone.
    RowTask task{plan, &row.row, std::nullopt, row.accepted_seq, row.failed_seq, row.failed_seq};
    if (row.accepted) {
      task.image = *row.accepted;
      task.version = row.accepted_seq;
    }
    tasks.push_back(task);
  }
  return Apply(fence, std::move(tasks), 0, "undo", deadline);
}

Status Neo4jStore::Ping(Deadline deadline) { return RunAlone("RETURN 1", "ping", deadline); }

Status Neo4jStore::Apply(const Fence& fence, std::vector<RowTask> tasks, int64_t position,
                         std::string_view operation, Deadline deadline) {
  if (tasks.empty()) return {};
  Result<BoltConnection*> connection = Connected(deadline);
  if (!connection.ok()) return connection.error();
  encoder_.set_utc_datetimes((*connection)->utc_datetimes());

  // Locks are taken in the order of the rows: one order for all who write this graph.
  std::ranges::sort(tasks, [](const RowTask& left, const RowTask& right) {
    return std::pair(left.plan->mapping->id, std::string_view(left.row->key)) <
           std::pair(right.plan->mapping->id, std::string_view(right.row->key));
  });
  TransactionBuilder builder(encoder_);
  for (const RowTask& task : tasks) {
    if (Status status = builder.Add(task); !status.ok()) {
      StoreError error = status.error();
      error.operation = operation;
      return error;
    }
  }
  std::vector<Statement> statements{FenceStatement(fence, claim_, position)};
  builder.Finish(statements);
  return ToStatus(RunFenced(statements, operation, deadline));
}

Result<int64_t> Neo4jStore::RunFenced(std::span<const Statement> statements,
                                      std::string_view operation, Deadline deadline) {
  for (int attempt = 1;; ++attempt) {
    TransactionOutcome outcome =
        connection_->RunTransaction(database_, statements, operation, deadline);
    Settle(outcome.error ? &*outcome.error : nullptr);
    if (!outcome.error) {
      if (Status sound = CheckCounts(statements, outcome, operation); !sound.ok())
        return sound.error();
      return Counted(outcome.results.back());
    }

    if (outcome.results.empty() && outcome.error->native_code == kDivisionByZero) {
      return MakeError(operation, ErrorKind::kPermanent, kFenced,
                       "another epoch leads this pipeline");
    }
    const std::chrono::milliseconds pause(
        std::uniform_int_distribution(kDeadlockPauseMinMs, kDeadlockPauseMaxMs)(random_));
    const bool again = outcome.error->native_code == kDeadlock && attempt < kDeadlockAttemptsMax &&
                       connection_ != nullptr && deadline.remaining() > pause;
    if (!again) return *std::move(outcome.error);
    std::this_thread::sleep_for(pause);
  }
}

/// Neo4j builds a constraint's index first and may keep it when the client goes in between; from
/// then on the constraint cannot be made. An index that belongs to a constraint it does not drop.
Status Neo4jStore::MakeSchema(std::string_view statement, Deadline deadline) {
  Status made = RunAlone(statement, "prepare", deadline);
  if (made.ok() || made.error().native_code != kIndexNameTaken) return made;
  const std::string orphan = QuotedName(made.error().message);
  if (!orphan.starts_with(kGeneratedName)) return made;
  const std::string drop = "DROP INDEX " + Quote(orphan) + " IF EXISTS";
  if (Status dropped = RunAlone(drop, "prepare", deadline); !dropped.ok()) return dropped;
  return RunAlone(statement, "prepare", deadline);
}

Status Neo4jStore::RunAlone(std::string_view cypher, std::string_view operation,
                            Deadline deadline) {
  Result<BoltConnection*> connection = Connected(deadline);
  if (!connection.ok()) return connection.error();
  Result<Records> records =
      (*connection)->Run(database_, Statement{cypher, NoParameters(), 0}, operation, deadline);
  Settle(records.ok() ? nullptr : &records.error());
  if (!records.ok()) return records.error();
  return {};
}

Result<BoltConnection*> Neo4jStore::Connected(Deadline deadline) {
  if (configuration_error_) return *configuration_error_;
  if (connection_ != nullptr && !connection_->StillOpen()) connection_.reset();
  if (connection_ == nullptr) {
    Result<std::unique_ptr<BoltConnection>> opened = router_->Open(deadline);
    if (!opened.ok()) return opened.error();
    connection_ = *std::move(opened);
  }
  return connection_.get();
}

void Neo4jStore::Settle(const StoreError* error) {
  // Of what the server itself says, only a refused request and a lost race leave this the right
  // server to ask again.
  const bool keep =
      error == nullptr || error->kind == ErrorKind::kPermanent || error->native_code == kDeadlock;
  if (!keep || connection_->broken()) connection_.reset();
}

void Neo4jStore::ForgetOldPlans() {
  if (plans_.size() > kPlansMax) plans_.clear();
}

const GraphPlan* Neo4jStore::PlanOf(const MappingPtr& mapping) {
  if (const auto found = plans_.find(mapping.get()); found != plans_.end())
    return found->second.get();
  std::unique_ptr<const GraphPlan> plan = MakePlan(mapping);
  if (plan == nullptr) return nullptr;
  return plans_.emplace(mapping.get(), std::move(plan)).first->second.get();
}

}  // namespace apex::neo4j
