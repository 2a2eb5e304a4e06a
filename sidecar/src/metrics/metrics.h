// Every metric of the sidecar, by name. The names are a contract
// (tests/unit/metrics/golden_names.txt holds them).
//
// Thread-safe. Labels are bounded: steps, statuses, stores and error types come from closed sets,
// never from data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/store_error.h"

namespace apex {

/// A cache's server as it sees itself, counted since it was started.
struct CacheFigures {
  int64_t keys = 0;
  int64_t keys_max = 0;
  int64_t memory_bytes = 0;
  int64_t memory_limit_bytes = 0;
  int64_t hits = 0;
  int64_t misses = 0;
  double hit_rate = 0;  ///< From 0 to 100.
  int64_t evictions = 0;
  int64_t expirations = 0;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Sagas. A saga counts once, when it settles.
  void SagasSettled(bool success, int64_t count);
  void StepObserved(Store step, double seconds);              ///< Once per batch and step.
  void Compensated(std::string_view step, bool compensated);  ///< Once per step undone.
  void SetActiveSagas(int64_t count);
  void Failed(std::string_view failed_step, std::string_view error_type, int64_t count);

  // The way of a row.
  void SetLagSeconds(
      double seconds);  ///< Age of the oldest change not yet settled, 0 when there is none.
  void SetBacklogRows(int64_t rows);      ///< Changes read and not yet settled.
  void EndToEndObserved(double seconds);  ///< Capture to settled, per change.
  void BatchObserved(int64_t rows);
  void SagasSplit(int64_t count);  ///< Sagas larger than a piece, delivered in parts.

  // The stores.
  void SetStoreUp(Store store,
                  bool up);  ///< A store never named here has no series: it is not used.
  void SetBreakerOpen(Store store, bool open);
  void Retried(Store store);
  /// Without leadership lag, backlog, active sagas and breakers are 0, and only PostgreSQL is up or
  /// down.
  void SetLeader(bool leading, int64_t epoch);

  // The cache.
  /// `result` is hit, miss, bypass (PostgreSQL alone, since Redis could not be used) or error.
  void CacheRead(std::string_view result);
  void CacheFilled(bool filled);  ///< False: the lease was gone, or something newer was there.
  /// What Redis says of itself.
  void SetCache(const CacheFigures& figures);

  /// Prometheus text format 0.0.4.
  std::string Render() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apex
