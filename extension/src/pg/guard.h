// The one door between PostgreSQL's C and our C++.
//
//   APEX_FUNCTION(apex_position) {
//     PG_RETURN_FULLTRANSACTIONID(GetTopFullTransactionId());
//   }
//
// Every extern "C" entry that may raise goes through Guard(): SQL functions by APEX_FUNCTION, hooks
// and worker mains by calling it. A C++ exception that reaches the guard becomes an ereport after
// its catch block has been left, since ereport jumps away and would skip the exception's
// destruction.
//
// The other direction is the caller's duty: a PostgreSQL call that may raise an ERROR jumps over
// every frame up to the nearest handler, so no object with a destructor may be alive across it.
//
// Commit callbacks do not use the guard: they call nothing that can raise, because an ERROR there
// is a PANIC.
#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "pg/postgres_api.h"

namespace apex::pg {

/// What is left of a C++ exception once it is gone: plain memory, safe to jump over.
struct CaughtException {
  static constexpr std::size_t kMessageBytesMax = 512;
  int sqlstate;
  char message[kMessageBytesMax];

  void Take(int code, const char* text) noexcept {
    sqlstate = code;
    strlcpy(message, text, sizeof(message));
  }
};

/// Describes the exception that is being handled, in memory of which the process has one. It is
/// neither in Guard()'s frame nor prepared beforehand: every call of every function would pay.
[[gnu::cold, gnu::noinline]] inline const CaughtException* TakeException() noexcept {
  static CaughtException caught;
  try {
    throw;
  } catch (const std::bad_alloc&) {
    caught.Take(ERRCODE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& exception) {
    caught.Take(ERRCODE_INTERNAL_ERROR, exception.what());
  } catch (...) {
    caught.Take(ERRCODE_INTERNAL_ERROR, "unknown C++ exception");
  }
  return &caught;
}

[[noreturn, gnu::cold]] inline void Raise(const CaughtException& caught) {
  const bool is_defect = caught.sqlstate == ERRCODE_INTERNAL_ERROR;
  ereport(ERROR, (errcode(caught.sqlstate), errmsg("apex_saga: %s", caught.message),
                  is_defect ? errhint("This is a defect of apex_saga. Please report it.") : 0));
  pg_unreachable();
}

/// Runs `body`, whose result has to be trivially destructible, and turns any C++ exception into an
/// ERROR.
template <typename Body>
auto Guard(Body body) -> decltype(body()) {
  using Returned = decltype(body());
  static_assert(std::is_void_v<Returned> || std::is_trivially_destructible_v<Returned>);
  static_assert(std::is_trivially_destructible_v<Body>, "an ERROR would jump over the captures");
  const CaughtException* caught;
  try {
    return body();
  } catch (...) {
    caught = TakeException();
  }
  Raise(*caught);
}

}  // namespace apex::pg

/// Defines the SQL-callable function `name`; the block that follows is its body and sees `fcinfo`.
#define APEX_FUNCTION(name)                                           \
  static Datum name##_body(FunctionCallInfo fcinfo);                  \
  extern "C" {                                                        \
  PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                           \
  PG_FUNCTION_INFO_V1(name);                                          \
  Datum name(PG_FUNCTION_ARGS) {                                      \
    return apex::pg::Guard([fcinfo] { return name##_body(fcinfo); }); \
  }                                                                   \
  }                                                                   \
  static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
