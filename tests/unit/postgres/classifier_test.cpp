#include "stores/postgres/classifier.h"

#include <gtest/gtest.h>

#include <string>

namespace apex::postgres {
namespace {

struct Case {
  const char* sqlstate;
  ErrorKind kind;
};

class ClassifierTest : public ::testing::TestWithParam<Case> {};

TEST_P(ClassifierTest, GivesTheKindOfASqlstate) {
  const StoreError error = Classify("read", GetParam().sqlstate, "words\n");
  EXPECT_EQ(error.kind, GetParam().kind) << GetParam().sqlstate;
  EXPECT_EQ(error.native_code, GetParam().sqlstate);
  EXPECT_EQ(error.store, Store::kPostgres);
  EXPECT_EQ(error.operation, "read");
  EXPECT_EQ(error.message, "words");
}

INSTANTIATE_TEST_SUITE_P(
    Table, ClassifierTest,
    ::testing::Values(
        Case{"08000", ErrorKind::kUnknownOutcome}, Case{"08001", ErrorKind::kTransient},
        Case{"08003", ErrorKind::kUnknownOutcome}, Case{"08004", ErrorKind::kTransient},
        Case{"08006", ErrorKind::kUnknownOutcome}, Case{"08007", ErrorKind::kUnknownOutcome},
        Case{"08P01", ErrorKind::kPermanent}, Case{"0A000", ErrorKind::kPermanent},
        Case{"22023", ErrorKind::kPermanent}, Case{"23505", ErrorKind::kPermanent},
        Case{"25006", ErrorKind::kTransient}, Case{"25P02", ErrorKind::kPermanent},
        Case{"28000", ErrorKind::kPermanent}, Case{"28P01", ErrorKind::kPermanent},
        Case{"3D000", ErrorKind::kPermanent}, Case{"40001", ErrorKind::kTransient},
        Case{"40003", ErrorKind::kUnknownOutcome}, Case{"40P01", ErrorKind::kTransient},
        Case{"42501", ErrorKind::kPermanent}, Case{"42883", ErrorKind::kPermanent},
        Case{"42P01", ErrorKind::kPermanent}, Case{"53100", ErrorKind::kTransient},
        Case{"53200", ErrorKind::kTransient}, Case{"53300", ErrorKind::kTransient},
        Case{"55000", ErrorKind::kPermanent}, Case{"55006", ErrorKind::kTransient},
        Case{"55P03", ErrorKind::kTransient}, Case{"57014", ErrorKind::kTransient},
        Case{"57P01", ErrorKind::kUnknownOutcome}, Case{"57P02", ErrorKind::kUnknownOutcome},
        Case{"57P03", ErrorKind::kTransient}, Case{"57P04", ErrorKind::kPermanent},
        Case{"57P05", ErrorKind::kUnknownOutcome}, Case{"58030", ErrorKind::kTransient},
        Case{"58P01", ErrorKind::kPermanent}, Case{"72000", ErrorKind::kTransient},
        Case{"P0001", ErrorKind::kPermanent}, Case{"XX000", ErrorKind::kPermanent},
        Case{"XX001", ErrorKind::kPermanent}, Case{"ZZ999", ErrorKind::kPermanent}),
    [](const auto& param_info) { return std::string(param_info.param.sqlstate); });

TEST(ClassifierTest, AReplacedLeaderIsFenced) {
  const StoreError error = Classify("checkpoint", "AX001", "apex: this epoch no longer leads");
  EXPECT_EQ(error.kind, ErrorKind::kPermanent);
  EXPECT_EQ(error.native_code, kFenced);
}

TEST(ClassifierTest, AConnectionLostInAStatementLeavesItsOutcomeUnknown) {
  const StoreError error =
      Classify("checkpoint", "", "server closed the connection unexpectedly\n");
  EXPECT_EQ(error.kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(error.native_code, "08006");
}

TEST(ClassifierTest, AWrongPasswordIsPermanentAndKeepsTheServersWords) {
  const StoreError error = ClassifyConnect(
      "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  28P01: password "
      "authentication failed for user "
      "\"apex\"\nLOCATION:  auth_failed, auth.c:335\n");
  EXPECT_EQ(error.kind, ErrorKind::kPermanent);
  EXPECT_EQ(error.native_code, "28P01");
  EXPECT_EQ(error.message, "password authentication failed for user \"apex\"");
}

TEST(ClassifierTest, AServerThatIsStartingIsTransient) {
  const StoreError error = ClassifyConnect(
      "connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: FATAL:  57P03: the database "
      "system is starting up\n"
      "LOCATION:  ProcessStartupPacket, postmaster.c:2340\n");
  EXPECT_EQ(error.kind, ErrorKind::kTransient);
  EXPECT_EQ(error.native_code, "57P03");
}

TEST(ClassifierTest, AConnectionEndedWhileItWasMadeIsTransient) {
  const StoreError error = ClassifyConnect(
      "connection to server at \"h\", port 1 failed: FATAL:  57P01: terminating connection due to "
      "administrator command\n");
  EXPECT_EQ(error.kind, ErrorKind::kTransient);
  EXPECT_EQ(error.native_code, "57P01");
}

TEST(ClassifierTest, AServerThatDoesNotAnswerIsTransient) {
  const StoreError error = ClassifyConnect(
      "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server "
      "running on that host and "
      "accepting TCP/IP connections?\n");
  EXPECT_EQ(error.kind, ErrorKind::kTransient);
  EXPECT_EQ(error.native_code, "08001");
  EXPECT_EQ(error.message,
            "connection to server at \"127.0.0.1\", port 1 failed: Connection refused; Is the "
            "server running on that host and "
            "accepting TCP/IP connections?");
}

}  // namespace
}  // namespace apex::postgres
