// Lends out what one thread at a time may use, such as a connection.
//
// Thread-safe. Makes at most `most` of them, each when it is first needed, and keeps them. Every
// loan ends before the pool does.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/deadline.h"

namespace apex {

template <typename T>
class Pool {
 public:
  Pool(size_t most, std::function<std::unique_ptr<T>()> make)
      : most_(most), make_(std::move(make)) {}

  /// Goes back when it is destroyed.
  class Loan {
   public:
    Loan(Pool& pool, std::unique_ptr<T> lent) : pool_(&pool), lent_(std::move(lent)) {}
    Loan(Loan&&) noexcept = default;
    Loan& operator=(Loan&&) = delete;
    ~Loan() {
      if (lent_) pool_->Return(std::move(lent_));
    }

    /// False: all were lent out up to the deadline.
    explicit operator bool() const { return lent_ != nullptr; }
    T* operator->() const { return lent_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<T> lent_;
  };

  Loan Borrow(Deadline deadline) {
    std::unique_lock lock(mutex_);
    const auto can_be_had = [this] { return !idle_.empty() || made_ < most_; };
    if (!returned_.wait_until(lock, deadline.when(), can_be_had)) return Loan(*this, nullptr);
    if (idle_.empty()) {
      ++made_;
      return Loan(*this, make_());
    }
    std::unique_ptr<T> lent = std::move(idle_.back());
    idle_.pop_back();
    return Loan(*this, std::move(lent));
  }

 private:
  void Return(std::unique_ptr<T> lent) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(lent));
    returned_.notify_one();
  }

  const size_t most_;
  const std::function<std::unique_ptr<T>()> make_;
  std::mutex mutex_;
  std::condition_variable returned_;
  size_t made_ = 0;
  std::vector<std::unique_ptr<T>> idle_;  ///< The last returned is lent first.
};

}  // namespace apex
