#include "stores/redis/error.h"

#include <gtest/gtest.h>

namespace apex::redis {
namespace {

struct Case {
  const char* reply;
  ErrorKind kind;
};

class RedisClassifierTest : public testing::TestWithParam<Case> {};

TEST_P(RedisClassifierTest, MapsTheReplyToAKind) {
  EXPECT_EQ(Classify(GetParam().reply), GetParam().kind) << GetParam().reply;
}

constexpr auto kTransient = ErrorKind::kTransient;
constexpr auto kPermanent = ErrorKind::kPermanent;

INSTANTIATE_TEST_SUITE_P(
    Replies, RedisClassifierTest,
    testing::Values(
        Case{"LOADING Redis is loading the dataset in memory", kTransient},
        Case{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
             "NOSAVE.",
             kTransient},
        Case{"TRYAGAIN Multiple keys request during rehashing of slot", kTransient},
        Case{"CLUSTERDOWN The cluster is down", kTransient},
        Case{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
             kTransient},
        Case{"READONLY You can't write against a read only replica.", kTransient},
        Case{"OOM command not allowed when used memory > 'maxmemory'.", kTransient},
        Case{"NOREPLICAS Not enough good replicas to write.", kTransient},
        Case{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to "
             "persist to disk.",
             kTransient},
        Case{"NOAUTH Authentication required.", kTransient},
        Case{"WRONGPASS invalid username-password pair or user is disabled.", kTransient},
        Case{"NOPERM this user has no permissions to run the 'unlink' command", kTransient},
        Case{"NOSCRIPT No matching script. Please use EVAL.", kTransient},
        Case{"MOVED 3999 127.0.0.1:6381", kTransient},
        Case{"CROSSSLOT Keys in request don't hash to the same slot", kTransient},
        Case{"ERR max number of clients reached", kTransient},
        Case{"DENIED Redis is running in protected mode because protected mode is enabled",
             kTransient},
        // As Redis 6 tells what a script met.
        Case{"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
             "@user_script:1: @user_script: 1: -OOM command not allowed when used memory > "
             "'maxmemory'.",
             kTransient},
        Case{"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
             "@user_script:1: @user_script: 1: -MISCONF Redis is configured to save RDB snapshots",
             kTransient},
        Case{"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
             "@user_script:7: WRONGTYPE Operation against a key holding the wrong kind of value",
             kPermanent},
        Case{"ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): "
             "@user_script:7: user_script:7: attempt to index a nil value",
             kPermanent},
        Case{"ERR Error running script (call to f_6b1b): nothing that is known", kPermanent},
        Case{"ERR Error running script (call to f_6b1b): @user_script:1", kPermanent},
        Case{"WRONGTYPE Operation against a key holding the wrong kind of value", kPermanent},
        Case{"ERR unknown command 'UNLINK', with args beginning with: 'doc:1'", kPermanent},
        Case{"ERR value is not an integer or out of range", kPermanent},
        Case{"SOMETHINGNEW that no release known today says", kPermanent}, Case{"", kPermanent},
        Case{"READONLYISH is another word", kPermanent}));

TEST(RedisErrorTest, SplitsTheReplyIntoCodeAndWords) {
  const StoreError error = ReplyError("write", "OOM command not allowed");
  EXPECT_EQ(error.store, Store::kRedis);
  EXPECT_EQ(error.operation, "write");
  EXPECT_EQ(error.native_code, "OOM");
  EXPECT_EQ(error.message, "command not allowed");
  EXPECT_EQ(error.kind, ErrorKind::kTransient);
  EXPECT_EQ(ReplyError("write", "OOM").message, "");
}

TEST(RedisErrorTest, TellsWhatAScriptMetAsIfTheCommandHadMetIt) {
  const StoreError error = ReplyError("write",
                                      "ERR Error running script (call to f_6b1b): @user_script:1: "
                                      "@user_script: 1: -READONLY You can't write against a read "
                                      "only replica.");
  EXPECT_EQ(error.native_code, "READONLY");
  EXPECT_EQ(error.message, "You can't write against a read only replica.");
}

TEST(RedisErrorTest, OpensANewConnectionWhereAnotherServerMayAnswer) {
  EXPECT_TRUE(NeedsNewConnection("READONLY You can't write against a read only replica."));
  EXPECT_TRUE(NeedsNewConnection("NOSCRIPT No matching script."));
  EXPECT_TRUE(NeedsNewConnection("NOAUTH Authentication required."));
  EXPECT_TRUE(NeedsNewConnection(
      "ERR Error running script (call to f_6b1b): @user_script:1: "
      "@user_script: 1: -READONLY You can't write against a read only replica."));
  EXPECT_FALSE(NeedsNewConnection("OOM command not allowed"));
}

}  // namespace
}  // namespace apex::redis
