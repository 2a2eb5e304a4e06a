// Running something with the rights of a table's owner and no more: types, triggers and functions
// may bring code of the owner's along.
#pragma once

#include "pg/postgres_api.h"

namespace apex::pg {

/// Who was running before. An ERROR needs no way back: the transaction's end restores it.
struct Caller {
  Oid user;
  int security_context;
  int settings;  ///< Of the nest level that keeps the owner's code from changing the session's.
};

/// Until ReturnTo the current user is the owner of `table`, in a security-restricted operation.
Caller BecomeOwner(Oid table);
void ReturnTo(const Caller& caller);

}  // namespace apex::pg
