// One session with PostgreSQL: connects when first used and again after it was lost. No call
// outlasts its deadline, but for the name server's answer, which libpq waits for.
//
// A session is used by one thread at a time. Statements run in autocommit mode; results come in
// binary format.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"

struct pg_conn;
struct pg_result;

namespace apex::postgres {

struct ConnectOptions {
  std::string dsn;       ///< libpq's URI or keyword form.
  std::string password;  ///< Empty: the one in `dsn`, PGPASSWORD or the password file.
  std::string application_name = "apex";
  bool to_primary = true;  ///< Refuse a standby, and among several hosts find the primary.
};

/// The rows of one result. Views into them live as long as this does. Reading a NULL gives the
/// type's zero.
class Rows {
 public:
  explicit Rows(pg_result* result) : result_(result) {}

  int size() const;
  bool IsNull(int row, int column) const;
  std::string_view Bytes(int row, int column) const;  ///< text, bytea
  std::optional<std::string> TextIfAny(int row, int column) const;
  std::string Text(int row, int column) const { return std::string(Bytes(row, column)); }
  int64_t Int(int row, int column) const;   ///< int2, int4, int8, xid8
  uint32_t Oid(int row, int column) const;  ///< oid, regclass
  bool Bool(int row, int column) const;
  int64_t UnixMicros(int row, int column) const;              ///< timestamptz
  std::vector<std::string> Texts(int row, int column) const;  ///< text[] without NULLs

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

class Session {
 public:
  using Parameter = std::optional<std::string>;  ///< In text format; nullopt is NULL.

  explicit Session(ConnectOptions options);
  /// `channel` is listened to on every connection this session makes.
  Session(ConnectOptions options, std::string channel);

  /// One statement with its parameters $1, $2, ... kUnknownOutcome: it may have been committed.
  Result<Rows> Query(const char* operation, const char* sql,
                     const std::vector<Parameter>& parameters, Deadline deadline);

  /// Waits on the existing connection: true at a notification, false at the deadline or when
  /// `interrupt_fd` gets readable. Without a connection it only waits. A connection lost meanwhile
  /// is an error, once.
  Result<bool> AwaitNotification(int interrupt_fd, Deadline deadline);

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };

  Status Connect(Deadline deadline);
  Status SetUp(Deadline deadline);
  Result<Rows> Run(const char* operation, const char* sql, const std::vector<Parameter>& parameters,
                   Deadline deadline);
  Status Flush(const char* operation, Deadline deadline);
  Result<Rows> Receive(const char* operation, Deadline deadline);
  StoreError Lost(const char* operation);
  StoreError TimedOut(const char* operation, ErrorKind kind);
  bool StillThere();

  ConnectOptions options_;
  std::string channel_;
  std::unique_ptr<pg_conn, Finish> connection_;
};

}  // namespace apex::postgres
