#include "metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <sstream>
#include <string>

#include "core/version.h"

namespace apex {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

constexpr std::array kStores{Store::kPostgres, Store::kNeo4j, Store::kQdrant, Store::kRedis};
constexpr std::array kErrorTypes{"refused", "gave_up", "unencodable", "other"};
constexpr std::array kCacheResults{"hit", "miss", "bypass", "error"};
constexpr std::array kFailedSteps{"write_postgres", "write_neo4j", "write_qdrant",
                                  "write_redis",    "capture",     "other"};

const Buckets kStepSeconds{.01, .05, .1, .5, 1, 5, 10, 30, 60};
const Buckets kEndToEndSeconds{.001, .0025, .005, .0075, .01, .015, .02, .03, .05, .075, .1,
                               .15,  .25,   .5,   1,     2.5, 5,    10,  30,  60,  300};
const Buckets kBatchRows{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};

/// Keeps a label bounded whatever the caller passes.
template <size_t n>
std::string Bounded(const std::array<const char*, n>& known, std::string_view value) {
  return std::ranges::find(known, value) != known.end() ? std::string(value) : "other";
}

Family<Counter>& NewCounter(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Gauge& NewGauge(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

/// One series a store, indexed by the store.
template <typename T>
using PerStore = std::array<T*, kStores.size()>;

template <typename T, typename... Arguments>
PerStore<T> AddPerStore(Family<T>& family, const char* label, bool as_step,
                        const Arguments&... arguments) {
  PerStore<T> series{};
  for (Store store : kStores) {
    const std::string value{as_step ? StepName(store) : Name(store)};
    series[static_cast<size_t>(store)] = &family.Add({{label, value}}, arguments...);
  }
  return series;
}

}  // namespace

// Every series exists from the start with 0: a ratio on a dashboard divides by a number from the
// first scrape on, and rate() sees the first increment. Only a store that was never asked has no
// apex_store_up: one that is not configured is not down.
struct Metrics::Impl {
  Registry registry;

  Family<Counter>& executions =
      NewCounter(registry, "apex_saga_executions_total", "Sagas settled, by outcome.");
  Counter& succeeded = executions.Add({{"status", "success"}});
  Counter& failed = executions.Add({{"status", "failed"}});

  PerStore<Histogram> step_seconds = AddPerStore(prometheus::BuildHistogram()
                                                     .Name("apex_saga_step_duration_seconds")
                                                     .Help("Duration of one step of one batch.")
                                                     .Register(registry),
                                                 "step_name", true, kStepSeconds);

  Family<Counter>& compensations = NewCounter(registry, "apex_saga_compensation_total",
                                              "Steps undone, by outcome of the undoing.");
  Gauge& active_sagas =
      NewGauge(registry, "apex_saga_active_count", "Sagas read and not yet settled.");
  Family<Counter>& failures =
      NewCounter(registry, "apex_saga_failure_reason_total",
                 "Sagas that failed for good, by the step and the kind of its error.");

  Gauge& lag_seconds = NewGauge(registry, "apex_lag_seconds",
                                "Age of the oldest change not yet settled; 0 when there is none.");
  Gauge& backlog_rows =
      NewGauge(registry, "apex_backlog_rows", "Changes read and not yet settled.");
  Histogram& end_to_end_seconds = prometheus::BuildHistogram()
                                      .Name("apex_end_to_end_seconds")
                                      .Help("Time from the capture of a change to its settlement.")
                                      .Register(registry)
                                      .Add({}, kEndToEndSeconds);
  Histogram& batch_rows = prometheus::BuildHistogram()
                              .Name("apex_batch_rows")
                              .Help("Changes that one checkpoint settled.")
                              .Register(registry)
                              .Add({}, kBatchRows);
  Counter& saga_split = NewCounter(registry, "apex_saga_split_total",
                                   "Sagas larger than a piece that were delivered in parts.")
                            .Add({});

  Family<Gauge>& store_up = prometheus::BuildGauge()
                                .Name("apex_store_up")
                                .Help("1 while the store answers, 0 while it does not.")
                                .Register(registry);
  std::mutex store_up_mutex;  // A series is removed: nobody may hold on to it.
  PerStore<Gauge> breaker_open =
      AddPerStore(prometheus::BuildGauge()
                      .Name("apex_breaker_open")
                      .Help("1 while writes to the store wait after failures.")
                      .Register(registry),
                  "store", false);
  PerStore<Counter> retries = AddPerStore(
      NewCounter(registry, "apex_retries_total", "Requests sent to the store once more."), "store",
      false);
  Gauge& leader = NewGauge(registry, "apex_leader", "1 while this process leads its pipeline.");
  Gauge& epoch =
      NewGauge(registry, "apex_epoch", "Epoch this process leads in; 0 while it does not.");

  Family<Counter>& cache_reads =
      NewCounter(registry, "apex_cache_reads_total", "Rows asked of the cache's API, by outcome.");
  Family<Counter>& cache_fills =
      NewCounter(registry, "apex_cache_fills_total",
                 "Entries that a reader put into the cache, or could not because the row had "
                 "changed.");
  Counter& filled = cache_fills.Add({{"result", "filled"}});
  Counter& fill_refused = cache_fills.Add({{"result", "refused"}});
  // Redis counts anew when it is started again, which a counter here could not.
  Gauge& cache_keys = NewGauge(registry, "apex_cache_keys", "Keys in the cache's database.");
  Gauge& cache_keys_max =
      NewGauge(registry, "apex_cache_keys_max", "Keys beyond which none are added; 0: no limit.");
  Gauge& cache_memory =
      NewGauge(registry, "apex_cache_memory_bytes", "Memory that the cache's server uses.");
  Gauge& cache_memory_limit = NewGauge(registry, "apex_cache_memory_limit_bytes",
                                       "Memory it may use before it evicts; 0: no limit.");
  Gauge& cache_hits = NewGauge(registry, "apex_cache_keyspace_hits",
                               "Reads of keys that were there, since the server was started.");
  Gauge& cache_misses = NewGauge(registry, "apex_cache_keyspace_misses",
                                 "Reads of keys that were not, since the server was started.");
  Gauge& cache_hit_rate = NewGauge(registry, "apex_cache_hit_rate",
                                   "Percent of the reads since then that found their key.");
  Gauge& cache_evictions =
      NewGauge(registry, "apex_cache_evicted_keys",
               "Keys evicted for lack of memory since the server was started.");
  Gauge& cache_expirations = NewGauge(registry, "apex_cache_expired_keys",
                                      "Keys that have expired since the server was started.");

  Gauge& StoreUp(Store store) { return store_up.Add({{"store", std::string(Name(store))}}); }

  Impl() {
    for (Store step : kStores) {
      for (const char* status : {"compensated", "compensation_failed"}) {
        compensations.Add({{"step_name", std::string(StepName(step))}, {"status", status}});
      }
    }
    for (const char* result : kCacheResults) cache_reads.Add({{"result", result}});
    for (const char* step : kFailedSteps) {
      for (const char* type : kErrorTypes)
        failures.Add({{"failed_step", step}, {"error_type", type}});
    }
    prometheus::BuildGauge()
        .Name("apex_build_info")
        .Help("Always 1; the labels say which build this is.")
        .Register(registry)
        .Add({{"version", kVersion}})
        .Set(1);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::SagasSettled(bool success, int64_t count) {
  (success ? impl_->succeeded : impl_->failed).Increment(static_cast<double>(count));
}

void Metrics::StepObserved(Store step, double seconds) {
  impl_->step_seconds[static_cast<size_t>(step)]->Observe(seconds);
}

void Metrics::Compensated(std::string_view step, bool compensated) {
  if (std::ranges::find(kStores, step, StepName) == kStores.end())
    return;  // Only a store's step can be undone.
  impl_->compensations
      .Add({{"step_name", std::string(step)},
            {"status", compensated ? "compensated" : "compensation_failed"}})
      .Increment();
}

void Metrics::SetActiveSagas(int64_t count) { impl_->active_sagas.Set(static_cast<double>(count)); }

void Metrics::Failed(std::string_view failed_step, std::string_view error_type, int64_t count) {
  impl_->failures
      .Add({{"failed_step", Bounded(kFailedSteps, failed_step)},
            {"error_type", Bounded(kErrorTypes, error_type)}})
      .Increment(static_cast<double>(count));
}

void Metrics::SetLagSeconds(double seconds) { impl_->lag_seconds.Set(seconds); }
void Metrics::SetBacklogRows(int64_t rows) { impl_->backlog_rows.Set(static_cast<double>(rows)); }
void Metrics::EndToEndObserved(double seconds) { impl_->end_to_end_seconds.Observe(seconds); }
void Metrics::BatchObserved(int64_t rows) { impl_->batch_rows.Observe(static_cast<double>(rows)); }
void Metrics::SagasSplit(int64_t count) { impl_->saga_split.Increment(static_cast<double>(count)); }

void Metrics::SetStoreUp(Store store, bool up) {
  const std::lock_guard lock(impl_->store_up_mutex);
  impl_->StoreUp(store).Set(up ? 1 : 0);
}

void Metrics::SetBreakerOpen(Store store, bool open) {
  impl_->breaker_open[static_cast<size_t>(store)]->Set(open ? 1 : 0);
}

void Metrics::Retried(Store store) { impl_->retries[static_cast<size_t>(store)]->Increment(); }

void Metrics::SetLeader(bool leading, int64_t epoch) {
  impl_->leader.Set(leading ? 1 : 0);
  impl_->epoch.Set(static_cast<double>(epoch));
  if (leading) return;
  // All that is the next leader's now: a sum over the processes must not count it twice, nor an
  // alert go by what this one knew last.
  impl_->active_sagas.Set(0);
  impl_->lag_seconds.Set(0);
  impl_->backlog_rows.Set(0);
  for (Gauge* gauge : impl_->breaker_open) gauge->Set(0);
  const std::lock_guard lock(impl_->store_up_mutex);
  for (Store target : {Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
    impl_->store_up.Remove(&impl_->StoreUp(target));
  }
}

void Metrics::CacheRead(std::string_view result) {
  impl_->cache_reads.Add({{"result", Bounded(kCacheResults, result)}}).Increment();
}

void Metrics::CacheFilled(bool filled) {
  (filled ? impl_->filled : impl_->fill_refused).Increment();
}

void Metrics::SetCache(const CacheFigures& figures) {
  const auto set = [](Gauge& gauge, int64_t value) { gauge.Set(static_cast<double>(value)); };
  set(impl_->cache_keys, figures.keys);
  set(impl_->cache_keys_max, figures.keys_max);
  set(impl_->cache_memory, figures.memory_bytes);
  set(impl_->cache_memory_limit, figures.memory_limit_bytes);
  set(impl_->cache_hits, figures.hits);
  set(impl_->cache_misses, figures.misses);
  impl_->cache_hit_rate.Set(figures.hit_rate);
  set(impl_->cache_evictions, figures.evictions);
  set(impl_->cache_expirations, figures.expirations);
}

std::string Metrics::Render() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, impl_->registry.Collect());
  return out.str();
}

}  // namespace apex
