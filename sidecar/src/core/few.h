// A list that mostly has one element: that one needs no memory of its own. Most sagas have one
// change, most rows of a batch one too, and there are millions of them.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

namespace apex {

template <typename T>
class Few {
 public:
  using value_type = T;             // NOLINT(readability-identifier-naming): a container's name
  using iterator = T*;              // NOLINT(readability-identifier-naming): a container's name
  using const_iterator = const T*;  // NOLINT(readability-identifier-naming): a container's name

  Few() = default;
  Few(const Few&) = default;
  Few& operator=(const Few&) = default;
  Few(Few&& other) noexcept
      : size_(std::exchange(other.size_, 0)),
        only_(std::move(other.only_)),
        several_(std::move(other.several_)) {}
  Few& operator=(Few&& other) noexcept {
    size_ = std::exchange(other.size_, 0);
    only_ = std::move(other.only_);
    several_ = std::move(other.several_);
    return *this;
  }
  ~Few() = default;
  Few(std::initializer_list<T> elements) {
    for (const T& each : elements) push_back(each);
  }
  Few(std::vector<T> elements) {  // NOLINT(google-explicit-constructor): as an initializer
    for (T& each : elements) push_back(std::move(each));
  }

  void push_back(T element) {
    if (size_ == 0) {
      only_ = std::move(element);
    } else {
      if (size_ == 1) several_.push_back(std::exchange(only_, T{}));
      several_.push_back(std::move(element));
    }
    ++size_;
  }

  /// Takes out what is equal.
  void Erase(const T& element) {
    Few kept;
    for (T& each : *this) {
      if (each != element) kept.push_back(std::move(each));
    }
    *this = std::move(kept);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  iterator begin() { return size_ < 2 ? &only_ : several_.data(); }
  iterator end() { return begin() + size_; }
  const_iterator begin() const { return size_ < 2 ? &only_ : several_.data(); }
  const_iterator end() const { return begin() + size_; }
  T& front() { return *begin(); }
  const T& front() const { return *begin(); }
  T& back() { return *(end() - 1); }
  const T& back() const { return *(end() - 1); }
  T& operator[](size_t position) { return begin()[position]; }
  const T& operator[](size_t position) const { return begin()[position]; }

 private:
  size_t size_ = 0;
  T only_{};                ///< When there is one.
  std::vector<T> several_;  ///< When there are more: all of them.
};

}  // namespace apex
