#include "stores/neo4j/errors.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace apex::neo4j {
namespace {

TEST(ClassifierTest, MapsEachStatusCodeToWhatItMeansForTheRequest) {
  const std::vector<std::pair<std::string_view, ErrorKind>> cases{
      {"Neo.TransientError.Transaction.DeadlockDetected", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LockAcquisitionTimeout", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.Terminated", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LockClientStopped", ErrorKind::kTransient},
      {"Neo.TransientError.General.DatabaseUnavailable", ErrorKind::kTransient},
      {"Neo.TransientError.General.MemoryPoolOutOfMemoryError", ErrorKind::kTransient},
      {"Neo.TransientError.General.TransactionOutOfMemoryError", ErrorKind::kPermanent},
      {"Neo.ClientError.Statement.EntityNotFound", ErrorKind::kTransient},
      {"Neo.ClientError.Statement.AccessMode", ErrorKind::kTransient},
      {"Neo.ClientError.Statement.TypeError", ErrorKind::kPermanent},
      {"Neo.ClientError.Statement.ArgumentError", ErrorKind::kPermanent},
      {"Neo.ClientError.Statement.SyntaxError", ErrorKind::kPermanent},
      {"Neo.ClientError.Statement.ArithmeticError", ErrorKind::kPermanent},
      {"Neo.ClientError.Schema.ConstraintValidationFailed", ErrorKind::kPermanent},
      {"Neo.ClientError.Schema.ConstraintCreationFailed", ErrorKind::kPermanent},
      {"Neo.ClientError.Request.Invalid", ErrorKind::kPermanent},
      {"Neo.ClientError.Procedure.ProcedureNotFound", ErrorKind::kPermanent},
      {"Neo.ClientError.Security.Unauthorized", ErrorKind::kTransient},
      {"Neo.ClientError.Security.AuthenticationRateLimit", ErrorKind::kTransient},
      {"Neo.ClientError.Security.AuthorizationExpired", ErrorKind::kTransient},
      {"Neo.ClientError.Security.Forbidden", ErrorKind::kTransient},
      {"Neo.ClientError.Cluster.NotALeader", ErrorKind::kTransient},
      {"Neo.ClientError.General.ForbiddenOnReadOnlyDatabase", ErrorKind::kTransient},
      {"Neo.ClientError.Database.DatabaseNotFound", ErrorKind::kTransient},
      {"Neo.ClientError.Transaction.TransactionTimedOut", ErrorKind::kTransient},
      {"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", ErrorKind::kTransient},
      {"Neo.ClientError.Somewhere.New", ErrorKind::kPermanent},
      {"Neo.DatabaseError.Transaction.TransactionCommitFailed", ErrorKind::kUnknownOutcome},
      {"Neo.DatabaseError.Transaction.TransactionLogError", ErrorKind::kTransient},
      {"Neo.DatabaseError.General.UnknownError", ErrorKind::kTransient},
      {"Neo.DatabaseError.General.StorageDamageDetected", ErrorKind::kTransient},
      {"Neo.DatabaseError.Statement.ExecutionFailed", ErrorKind::kPermanent},
      {"", ErrorKind::kUnknownOutcome},
      {"something else", ErrorKind::kUnknownOutcome},
  };
  for (const auto& [code, kind] : cases) EXPECT_EQ(Name(Classify(code)), Name(kind)) << code;
}

}  // namespace
}  // namespace apex::neo4j
