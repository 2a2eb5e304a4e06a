#include "coordinator/target_worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace apex::coordinator {
namespace {

// What the network may add to the deadline of a call that was given up.
constexpr std::chrono::milliseconds kOnTheWay{1000};

double SecondsSince(Deadline::Clock::time_point start) {
  return std::chrono::duration<double>(Deadline::Clock::now() - start).count();
}

}  // namespace

TargetWorker::TargetWorker(TargetStore& store, Context context)
    : store_(store),
      context_(std::move(context)),
      removals_(store_.store(), context_.timeout + kOnTheWay) {
  // The first epoch has no leader before it.
  if (context_.fence.epoch > 1) removals_.Doubt();
  if (auto* cache = dynamic_cast<CacheStore*>(&store_))
    cache->GiveWayTo([this] { return RunEvictions(); });
}

TargetWorker::~TargetWorker() {
  executor_.Stop();
  if (auto* cache = dynamic_cast<CacheStore*>(&store_)) cache->GiveWayTo(nullptr);
}

void TargetWorker::Know(Mappings mappings) {
  executor_.Post([this, mappings = std::move(mappings)] {
    mappings_ = mappings;
    NotePing(Guarded([this](Deadline deadline) { return store_.Ping(deadline); }));
  });
}

void TargetWorker::Perform(saga::Write write) {
  if (Truncates(*write.rows)) return Truncate(std::move(write), Deadline::Clock::now());
  executor_.Post([this, write = std::move(write)] {
    const auto start = Deadline::Clock::now();
    Status status = Guarded(
        [&](Deadline deadline) { return store_.Write(context_.fence, *write.rows, deadline); });
    Finish(write, start, std::move(status));
  });
}

void TargetWorker::Truncate(saga::Write write, Deadline::Clock::time_point start) {
  executor_.Post([this, write = std::move(write), start] {
    bool done = false;
    Status status = Guarded([&](Deadline deadline) -> Status {
      Result<bool> part = store_.Truncate(context_.fence, *write.rows->front().newest, deadline);
      if (!part.ok()) return part.error();
      done = *part;
      return {};
    });
    if (status.ok() && !done) return Truncate(write, start);
    Finish(write, start, std::move(status));
  });
}

void TargetWorker::Finish(const saga::Write& write, Deadline::Clock::time_point start,
                          Status status) {
  if (status.ok()) {
    context_.metrics.StepObserved(write.store, SecondsSince(start));
    removals_.Written(*write.rows);
  }
  NoteRows(status);
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(Deadline::Clock::now() - start) -
      store_.FixedPart();
  context_.mailbox.Put(saga::WriteFinished{write.batch, write.store, std::move(status), took});
}

void TargetWorker::Perform(saga::Undo undo) {
  executor_.Post([this, undo = std::move(undo)] {
    Status status = Guarded(
        [&](Deadline deadline) { return store_.Undo(context_.fence, *undo.rows, deadline); });
    if (status.ok()) removals_.Undone(*undo.rows);
    NoteRows(status);
    context_.mailbox.Put(saga::UndoFinished{undo.failure, undo.store, std::move(status)});
  });
}

void TargetWorker::Perform(saga::Evict evict) {
  executor_.PostUrgent([this, evict = std::move(evict)] {
    auto& cache = static_cast<CacheStore&>(store_);  // Evictions are sent to Redis alone.
    Status status = Guarded(
        [&](Deadline deadline) { return cache.Evict(context_.fence, *evict.rows, deadline); });
    NoteRows(status);
    if (!status.ok() && status.error().kind != ErrorKind::kPermanent) evicted_ = status;
    context_.mailbox.Put(saga::EvictFinished{evict.eviction, std::move(status)});
  });
}

/// What fails for the store's sake may have changed what the call in the middle relies on.
Status TargetWorker::RunEvictions() {
  Status outer = std::exchange(evicted_, {});
  executor_.RunUrgent();
  Status failed = evicted_;
  if (failed.ok()) evicted_ = std::move(outer);
  return failed;
}

void TargetWorker::Perform(const saga::Probe& probe) {
  executor_.Post([this, store = probe.store] {
    prepared_.clear();
    Status status = Guarded([this](Deadline deadline) { return store_.Ping(deadline); });
    NotePing(status);
    context_.mailbox.Put(saga::ProbeFinished{store, std::move(status)});
  });
}

void TargetWorker::PingWhenIdle() {
  if (!executor_.idle()) return;
  executor_.Post(
      [this] { NotePing(Guarded([this](Deadline deadline) { return store_.Ping(deadline); })); });
}

void TargetWorker::RepeatRemovalsWhenDue() {
  // Not a second time while the first one waits: the store may be down.
  if (repeating_.exchange(true)) return;
  executor_.Post([this] {
    if (removals_.due()) {
      NoteRows(Guarded([this](Deadline deadline) {
        return removals_.Repeat(store_, context_.fence, deadline);
      }));
    }
    repeating_ = false;
  });
}

Status TargetWorker::Guarded(const std::function<Status(Deadline)>& call) {
  if (Status prepared = PrepareIfNeeded(); !prepared.ok()) return prepared;
  if (!context_.lease.Valid()) {
    return StoreError{store_.store(),
                      "write",
                      ErrorKind::kPermanent,
                      std::string(kFenced),
                      "the lease of this leader has run out",
                      std::nullopt};
  }
  Status status = call(ByTimeout());
  // The store may come back empty, for instance without its collections: look again before the next
  // call.
  if (!status.ok() && status.error().kind != ErrorKind::kPermanent) prepared_.clear();
  if (!status.ok() && status.error().kind == ErrorKind::kUnknownOutcome) removals_.Doubt();
  return status;
}

Status TargetWorker::PrepareIfNeeded() {
  const bool ready = mappings_ && std::all_of(mappings_->begin(), mappings_->end(),
                                              [this](const MappingPtr& mapping) {
                                                return prepared_.contains(mapping->id);
                                              });
  if (ready || !mappings_) return {};
  Status status = store_.Prepare(context_.fence, *mappings_, ByTimeout());
  if (!status.ok()) {
    // A set-up the store refuses is nobody's row: hold everything until it is mended.
    StoreError error = status.error();
    if (error.native_code != kFenced) error.kind = ErrorKind::kTransient;
    return error;
  }
  for (const MappingPtr& mapping : *mappings_) prepared_.insert(mapping->id);
  return {};
}

void TargetWorker::NoteRows(const Status& status) {
  if (!status.ok() && status.error().native_code == kFenced) return;
  rows_wait_ = !status.ok() && status.error().kind != ErrorKind::kPermanent;
  rows_wait_ ? SetDown(status.error()) : SetUp();
}

void TargetWorker::NotePing(const Status& status) {
  if (status.ok()) {
    if (!rows_wait_) SetUp();
  } else if (status.error().native_code != kFenced) {
    SetDown(status.error());
  }
}

// The metric before the health: who reads the second finds the first.
void TargetWorker::SetUp() {
  context_.metrics.SetStoreUp(store_.store(), true);
  context_.health.SetUp(store_.store());
}

void TargetWorker::SetDown(const StoreError& error) {
  const Store store = store_.store();
  const std::string why = Describe(error);
  context_.metrics.SetStoreUp(store, false);
  if (context_.health.SetDown(store, why))
    spdlog::warn("{} cannot be written: {}", Name(store), why);
}

}  // namespace apex::coordinator
