#include "stores/neo4j/errors.h"

#include <array>

namespace apex::neo4j {
namespace {

struct Rule {
  std::string_view code;  ///< A whole code, or the beginning of many when it ends in '.'.
  ErrorKind kind;
};

// The first rule that fits decides. Two questions order the table: may the server have committed,
// and is it this row or the server that is at fault? Only a fault of the row is permanent, because
// only that should ever park a row.
constexpr std::array kRules = {
    // The transaction asked for more memory than one may have: fewer rows at a time get through.
    // Neo4j 5 calls the first a client's error, 4.4 a transient one.
    Rule{"Neo.ClientError.General.TransactionOutOfMemoryError", ErrorKind::kPermanent},
    Rule{"Neo.TransientError.General.TransactionOutOfMemoryError", ErrorKind::kPermanent},
    Rule{"Neo.TransientError.General.TransactionMemoryLimit", ErrorKind::kPermanent},
    // What asked for too much at a bad moment comes again in smaller parts, as everything does
    // whose
    // outcome nobody knows.
    Rule{"Neo.TransientError.General.OutOfMemoryError", ErrorKind::kUnknownOutcome},
    Rule{"Neo.TransientError.General.MemoryPoolOutOfMemoryError", ErrorKind::kUnknownOutcome},
    Rule{"Neo.ClientError.Transaction.TransactionTimedOut", ErrorKind::kUnknownOutcome},
    Rule{"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration",
         ErrorKind::kUnknownOutcome},
    // The cluster may commit what its leader could no longer answer for.
    Rule{"Neo.TransientError.Cluster.ReplicationFailure", ErrorKind::kUnknownOutcome},
    Rule{"Neo.TransientError.Transaction.LeaderSwitch", ErrorKind::kUnknownOutcome},
    // Terminated and LockClientStopped too, which the official drivers do not retry because
    // somebody ended the transaction on purpose: it was rolled back, and no row is at fault.
    Rule{"Neo.TransientError.", ErrorKind::kTransient},

    // A statement met a node that a foreign application had just deleted.
    Rule{"Neo.ClientError.Statement.EntityNotFound", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Statement.AccessMode", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Statement.", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.Request.", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.Schema.", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.Procedure.", ErrorKind::kPermanent},

    // A wrong password or a missing right holds everything until somebody mends it.
    Rule{"Neo.ClientError.Security.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Cluster.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Database.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.General.InvalidArguments", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.General.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Fabric.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.Routing.", ErrorKind::kTransient},
    // Somebody's trigger or check vetoed what was written.
    Rule{"Neo.ClientError.Transaction.TransactionHookFailed", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.Transaction.TransactionValidationFailed", ErrorKind::kPermanent},
    Rule{"Neo.ClientError.Transaction.", ErrorKind::kTransient},
    Rule{"Neo.ClientError.", ErrorKind::kPermanent},

    Rule{"Neo.DatabaseError.Transaction.TransactionCommitFailed", ErrorKind::kUnknownOutcome},
    Rule{"Neo.DatabaseError.Statement.RemoteExecutionFailed", ErrorKind::kTransient},
    Rule{"Neo.DatabaseError.Statement.", ErrorKind::kPermanent},
    // A full disk, a read-only or broken store, an internal fault.
    Rule{"Neo.DatabaseError.", ErrorKind::kTransient},
};

}  // namespace

ErrorKind Classify(std::string_view code) {
  for (const Rule& rule : kRules) {
    if (rule.code.ends_with('.') ? code.starts_with(rule.code) : code == rule.code)
      return rule.kind;
  }
  return ErrorKind::kUnknownOutcome;
}

}  // namespace apex::neo4j
