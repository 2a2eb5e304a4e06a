// One word of shared memory between the readers that want to be woken, the writers that commit and
// the worker that wakes:
//
//   kIdle --Arm()--> kArmed --Trigger()--> kPending --Take()--> kIdle
//
// However many transactions commit, one of them triggers, and one notification goes out. Two
// readers may arm; arming never takes back a pending wake-up, which would be the other reader's.
//
// Nothing is lost between a reader that arms and then reads, and a writer that becomes visible and
// then triggers: both sides write first, pass a full fence and read then, so at least one of them
// sees the other.
//
// Lock-free and safe between processes and threads. Never blocks, allocates or raises: Trigger()
// runs inside commit.
#pragma once

#include <atomic>
#include <cstdint>

namespace apex {

class WakeFlag {
 public:
  /// Asks for one wake-up after the next commit. Idempotent.
  void Arm() {
    std::uint32_t expected = kIdle;
    state_.compare_exchange_strong(expected, kArmed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  /// To be called once the commit is visible. True for the one caller that has to wake the worker.
  bool Trigger() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (state_.load(std::memory_order_relaxed) != kArmed) return false;
    std::uint32_t expected = kArmed;
    return state_.compare_exchange_strong(expected, kPending);
  }

  /// The worker takes a pending wake-up and owes a notification for it. False when there is none.
  bool Take() {
    std::uint32_t expected = kPending;
    return state_.compare_exchange_strong(expected, kIdle);
  }

  /// The worker could not send what it owes: it stays pending, whoever armed meanwhile.
  void PutBack() { state_.store(kPending); }

  void Reset() { state_.store(kIdle); }

 private:
  static constexpr std::uint32_t kIdle = 0;
  static constexpr std::uint32_t kArmed = 1;
  static constexpr std::uint32_t kPending = 2;

  std::atomic<std::uint32_t> state_{kIdle};
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "shared between processes");
};

}  // namespace apex
