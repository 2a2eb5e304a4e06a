// Result<T>: a value or a StoreError. The project's only way to return a failure between modules.
//
//   Result<int> rows = client.Count(deadline);
//   if (!rows.ok()) return rows.error();
//   Use(*rows);
//
// Not thread-safe; owns its value. Reading the wrong side is a programming error and asserts.
#pragma once

#include <cassert>
#include <optional>
#include <utility>
#include <variant>

#include "core/store_error.h"

namespace apex {

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {
  }  // NOLINT(google-explicit-constructor): reads as a return
  Result(StoreError error)
      : state_(std::in_place_index<1>, std::move(error)) {
  }  // NOLINT(google-explicit-constructor): reads as a return

  bool ok() const { return state_.index() == 0; }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const StoreError& error() const {
    assert(!ok());
    return std::get<1>(state_);
  }

 private:
  T& value() {
    assert(ok());
    return std::get<0>(state_);
  }
  const T& value() const {
    assert(ok());
    return std::get<0>(state_);
  }

  std::variant<T, StoreError> state_;
};

/// Success without a value: `return {};` or `return Ok();`.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(StoreError error)
      : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor): reads as a return

  bool ok() const { return !error_.has_value(); }
  const StoreError& error() const {
    assert(!ok());
    return *error_;
  }

 private:
  std::optional<StoreError> error_;
};

using Status = Result<void>;

}  // namespace apex
