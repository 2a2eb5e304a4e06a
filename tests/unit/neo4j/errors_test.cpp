#include "stores/neo4j/errors.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace apex::neo4j {
namespace {

// Of Neo4j's own list, "List of Neo4j error codes", what a write or its preparation can meet.
TEST(ClassifierTest, MapsEachStatusCodeToWhatItMeansForTheRequest) {
  const std::vector<std::pair<std::string_view, ErrorKind>> cases{
      {"Neo.TransientError.Transaction.DeadlockDetected", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LockAcquisitionTimeout", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.Terminated", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LockClientStopped", ErrorKind::kTransient},
      {"Neo.TransientError.General.DatabaseUnavailable", ErrorKind::kTransient},
      {"Neo.TransientError.General.MemoryPoolOutOfMemoryError", ErrorKind::kUnknownOutcome},
      {"Neo.TransientError.General.OutOfMemoryError", ErrorKind::kUnknownOutcome},
      {"Neo.TransientError.General.TransactionOutOfMemoryError", ErrorKind::kPermanent},
      {"Neo.ClientError.General.TransactionOutOfMemoryError", ErrorKind::kPermanent},
      {"Neo.TransientError.General.TransactionMemoryLimit", ErrorKind::kPermanent},
      {"Neo.TransientError.Request.NoThreadsAvailable", ErrorKind::kTransient},
      {"Neo.TransientError.Security.AuthProviderTimeout", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.ConstraintsChanged", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LeaseExpired", ErrorKind::kTransient},
      {"Neo.TransientError.Transaction.LeaderSwitch", ErrorKind::kUnknownOutcome},
      {"Neo.TransientError.Cluster.ReplicationFailure", ErrorKind::kUnknownOutcome},
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
      {"Neo.ClientError.Transaction.TransactionTimedOut", ErrorKind::kUnknownOutcome},
      {"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration",
       ErrorKind::kUnknownOutcome},
      {"Neo.ClientError.Transaction.Terminated", ErrorKind::kTransient},
      {"Neo.ClientError.Transaction.LockClientStopped", ErrorKind::kTransient},
      {"Neo.ClientError.Transaction.TransactionHookFailed", ErrorKind::kPermanent},
      {"Neo.ClientError.Transaction.TransactionValidationFailed", ErrorKind::kPermanent},
      {"Neo.ClientError.Routing.DbmsInPanic", ErrorKind::kTransient},
      {"Neo.ClientError.Routing.RoutingFailed", ErrorKind::kTransient},
      {"Neo.ClientError.Cluster.Routing", ErrorKind::kTransient},
      {"Neo.ClientError.Fabric.AccessMode", ErrorKind::kTransient},
      {"Neo.ClientError.General.WriteOnReadOnlyAccessDatabase", ErrorKind::kTransient},
      {"Neo.ClientError.General.UpgradeRequired", ErrorKind::kTransient},
      {"Neo.ClientError.General.InvalidArguments", ErrorKind::kPermanent},
      {"Neo.ClientError.Security.TokenExpired", ErrorKind::kTransient},
      {"Neo.ClientError.Security.CredentialsExpired", ErrorKind::kTransient},
      {"Neo.ClientError.Schema.TokenNameError", ErrorKind::kPermanent},
      {"Neo.ClientError.Statement.UnsupportedOperationError", ErrorKind::kPermanent},
      {"Neo.ClientError.Somewhere.New", ErrorKind::kPermanent},
      {"Neo.DatabaseError.Transaction.TransactionCommitFailed", ErrorKind::kUnknownOutcome},
      {"Neo.DatabaseError.Transaction.TransactionLogError", ErrorKind::kTransient},
      {"Neo.DatabaseError.General.UnknownError", ErrorKind::kTransient},
      {"Neo.DatabaseError.General.StorageDamageDetected", ErrorKind::kTransient},
      {"Neo.DatabaseError.Statement.ExecutionFailed", ErrorKind::kPermanent},
      {"Neo.DatabaseError.Statement.RemoteExecutionFailed", ErrorKind::kTransient},
      {"Neo.DatabaseError.Schema.TokenLimitReached", ErrorKind::kTransient},
      {"Neo.DatabaseError.Transaction.TransactionStartFailed", ErrorKind::kTransient},
      {"", ErrorKind::kUnknownOutcome},
      {"something else", ErrorKind::kUnknownOutcome},
  };
  for (const auto& [code, kind] : cases) EXPECT_EQ(Name(Classify(code)), Name(kind)) << code;
}

}  // namespace
}  // namespace apex::neo4j
