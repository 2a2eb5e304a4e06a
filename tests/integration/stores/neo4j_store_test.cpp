// What Neo4jStore leaves in a real Neo4j, looked at through a connection of its own.
//
// APEX_NEO4J_URI names the server (APEX_NEO4J_PASSWORD where it asks for one). Each test uses
// labels of its own, so the server may hold anything else and the tests may run again.
#include "stores/neo4j/neo4j_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/packstream.h"

namespace apex::neo4j {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// A value as Cypher would show it, enough for comparing.
std::string Show(const packstream::Value& value) {
  if (const auto* truth = value.As<bool>()) return *truth ? "true" : "false";
  if (const auto* integer = value.As<int64_t>()) return std::to_string(*integer);
  if (const auto* real = value.As<double>()) return fmt::format("{}", *real);
  if (const auto* text = value.As<std::string>()) return *text;
  if (const auto* list = value.As<packstream::List>()) {
    std::string shown;
    for (const auto& item : *list) shown += (shown.empty() ? "" : ", ") + Show(item);
    return "[" + shown + "]";
  }
  return "null";
}

std::string NoParameters() {
  std::string parameters;
  packstream::Writer(parameters).MapHeader(0);
  return parameters;
}

ChangePtr MakeChange(const MappingPtr& mapping, std::string key, Operation op, int64_t seq,
                     std::optional<std::string> after) {
  auto change = std::make_shared<Change>();
  change->seq = seq;
  change->op = op;
  change->mapping = mapping;
  change->row = RowId{mapping->relation, std::move(key)};
  change->aggregate = change->row;
  change->after = std::move(after);
  return change;
}

RowWrite Upsert(const MappingPtr& mapping, std::string key, int64_t seq, std::string after) {
  return RowWrite{
      seq, MakeChange(mapping, std::move(key), Operation::kUpdate, seq, std::move(after)), {}};
}

RowWrite Delete(const MappingPtr& mapping, std::string key, int64_t seq) {
  return RowWrite{
      seq, MakeChange(mapping, std::move(key), Operation::kDelete, seq, std::nullopt), {}};
}

RowUndo UndoOf(const MappingPtr& mapping, std::string key, int64_t failed, int64_t accepted_seq,
               std::optional<std::string> accepted) {
  RowUndo undo;
  undo.mapping = mapping;
  undo.row = RowId{mapping->relation, std::move(key)};
  undo.failed_seq = failed;
  undo.accepted_seq = accepted_seq;
  undo.accepted = std::move(accepted);
  return undo;
}

MappingPtr Parse(int32_t id, const std::string& spec) {
  Result<TableMapping> mapping =
      ParseMapping(id, static_cast<uint32_t>(16000 + id), "default", true, "park", spec);
  EXPECT_TRUE(mapping.ok()) << (mapping.ok() ? "" : Describe(mapping.error()));
  return std::make_shared<const TableMapping>(*std::move(mapping));
}

class Neo4jStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.uri = FromEnvironment("APEX_NEO4J_URI");
    options_.user = "neo4j";
    options_.password = FromEnvironment("APEX_NEO4J_PASSWORD");
    ASSERT_FALSE(options_.uri.empty())
        << "APEX_NEO4J_URI must name a running Neo4j, for instance bolt://127.0.0.1:7687";
    store_ = std::make_unique<Neo4jStore>(options_);
    connection_ = Connect();
    // One test's labels and pipeline are nobody else's.
    prefix_ = fmt::format("{}{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                          getpid());
    fence_ = Fence{prefix_, 1};
    author_ =
        Parse(1, Filled(R"({"table": "public.authors", "key": [{"column": "id", "kind": "int"}],
        "columns": [{"column": "id", "kind": "int"}, {"column": "name", "kind": "text"}],
        "aggregate": null, "vector": null, "cache": null,
        "graph": {"kind": "node", "label": "@Author", "properties": ["name"], "relations": []}})"));
    document_ =
        Parse(2, Filled(R"({"table": "public.documents", "key": [{"column": "id", "kind": "text"}],
        "columns": [{"column": "id", "kind": "text"}, {"column": "title", "kind": "text"},
                    {"column": "author_id", "kind": "int"}],
        "aggregate": null, "vector": null, "cache": null,
        "graph": {"kind": "node", "label": "@Document", "properties": ["id", "title"],
                  "relations": [{"type": "AUTHORED_BY", "via": ["author_id"], "label": "@Author", "key": ["id"]}]}})"));
    needs_ = Parse(3, Filled(R"({"table": "public.needs",
        "key": [{"column": "from_id", "kind": "text"}, {"column": "slot", "kind": "int"}],
        "columns": [{"column": "from_id", "kind": "text"}, {"column": "slot", "kind": "int"},
                    {"column": "to_id", "kind": "text"}, {"column": "note", "kind": "text"}],
        "aggregate": null, "vector": null, "cache": null,
        "graph": {"kind": "edge", "type": "@NEEDS", "properties": ["note"],
                  "from": {"columns": ["from_id"], "label": "@Document", "key": ["id"]},
                  "to": {"columns": ["to_id"], "label": "@Document", "key": ["id"]}}})"));
    Prepare({author_, document_, needs_});
  }

  /// '@' in a text stands for this test's own prefix.
  std::string Filled(std::string text) const {
    for (size_t at = text.find('@'); at != std::string::npos;
         at = text.find('@', at + prefix_.size())) {
      text.replace(at, 1, prefix_);
    }
    return text;
  }

  void Prepare(std::vector<MappingPtr> mappings) {
    Status status = store_->Prepare(fence_, mappings, Soon());
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }

  void Write(std::vector<RowWrite> rows) {
    Status status = store_->Write(fence_, rows, Soon());
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }

  void Undo(std::vector<RowUndo> rows) {
    Status status = store_->Undo(fence_, rows, Soon());
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }

  static ChangePtr Truncation(const MappingPtr& mapping, int64_t seq) {
    return MakeChange(mapping, "[]", Operation::kTruncate, seq, std::nullopt);
  }

  /// In how many parts the store took the table away.
  int Truncate(const MappingPtr& mapping, int64_t seq) {
    const ChangePtr truncation = Truncation(mapping, seq);
    for (int parts = 1;; ++parts) {
      Result<bool> done = store_->Truncate(fence_, *truncation, Soon());
      EXPECT_TRUE(done.ok()) << Describe(done.error());
      if (!done.ok() || *done) return parts;
    }
  }

  /// The statement's rows as text, one a line.
  std::unique_ptr<BoltConnection> Connect() const {
    const Uri uri = *ParseUri(options_.uri);
    return *BoltConnection::Open(uri.address, uri, {options_.user, options_.password}, Soon());
  }

  std::string Query(const std::string& cypher) {
    const std::string filled = Filled(cypher);
    Result<Records> records =
        connection_->Run("neo4j", Statement{filled, NoParameters(), 0}, "query", Soon());
    if (!records.ok()) return Describe(records.error());
    std::string text;
    for (const packstream::List& row : *records)
      text += (text.empty() ? "" : "\n") + Show(packstream::Value{row});
    return text;
  }

  std::string Documents() {
    return Query("MATCH (n:@Document) RETURN n.id, n.title, n._apex_seq ORDER BY n.id");
  }
  std::string Authors() {
    return Query("MATCH (n:@Author) RETURN n.id, n.name, n._apex_seq ORDER BY n.id");
  }
  std::string Links() {
    return Query(
        "MATCH (n:@Document)-[r:AUTHORED_BY]->(m:@Author) RETURN n.id, m.id, r._apex_seq ORDER BY "
        "n.id, m.id");
  }
  std::string Edges() {
    return Query(
        "MATCH (f)-[r:@NEEDS]->(t) RETURN f.id, t.id, r.slot, r.note, r._apex_seq ORDER BY f.id, "
        "r.slot");
  }

  Options options_;
  std::unique_ptr<Neo4jStore> store_;
  std::unique_ptr<BoltConnection> connection_;
  std::string prefix_;
  Fence fence_;
  MappingPtr author_, document_, needs_;
};

TEST_F(Neo4jStoreTest, FillsTheStubOfAReferencedRowWhenItsOwnRowComes) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  EXPECT_EQ(Authors(), "[7, null, null]");
  EXPECT_EQ(Links(), "[d, 7, 10]");

  Write({Upsert(author_, "[7]", 11, R"({"id": 7, "name": "Ada"})")});
  EXPECT_EQ(Authors(), "[7, Ada, 11]");
  EXPECT_EQ(Links(), "[d, 7, 10]");
}

TEST_F(Neo4jStoreTest, MovesTheRelationshipAndDropsTheUnusedStubWhenAForeignKeyChanges) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  Write({Upsert(document_, R"(["d"])", 11, R"({"id": "d", "title": "T", "author_id": 8})")});
  EXPECT_EQ(Links(), "[d, 8, 11]");
  EXPECT_EQ(Authors(), "[8, null, null]");

  Write({Upsert(document_, R"(["d"])", 12, R"({"id": "d", "title": null, "author_id": null})")});
  EXPECT_EQ(Links(), "");
  EXPECT_EQ(Authors(), "");
  EXPECT_EQ(Documents(), "[d, null, 12]");
}

TEST_F(Neo4jStoreTest, MovesManyRelationshipsOfTheSameStubsInOneTransaction) {
  const auto written_by = [this](int64_t first_seq, std::vector<std::string> authors) {
    std::vector<RowWrite> rows;
    const std::string ids = "def";
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string id(1, ids[i]);
      rows.push_back(
          Upsert(document_, fmt::format(R"(["{}"])", id), first_seq + static_cast<int64_t>(i),
                 fmt::format(R"({{"id": "{}", "title": "T", "author_id": {}}})", id, authors[i])));
    }
    Write(rows);
  };
  written_by(10, {"7", "7", "8"});
  EXPECT_EQ(Links(), "[d, 7, 10]\n[e, 7, 11]\n[f, 8, 12]");
  written_by(20, {"8", "8", "7"});
  EXPECT_EQ(Links(), "[d, 8, 20]\n[e, 8, 21]\n[f, 7, 22]");
  EXPECT_EQ(Authors(), "[7, null, null]\n[8, null, null]");
  written_by(30, {"9", "9", "9"});
  EXPECT_EQ(Authors(), "[9, null, null]");
  written_by(40, {"null", "null", "null"});
  EXPECT_EQ(Links() + Authors(), "");
}

TEST_F(Neo4jStoreTest, KeepsAFilledNodeThatNothingPointsAtAnyMore) {
  Write({Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  Write({Delete(document_, R"(["d"])", 11)});
  EXPECT_EQ(Documents(), "");
  EXPECT_EQ(Authors(), "[7, Ada, 9]");
}

TEST_F(Neo4jStoreTest, LeavesAStubOfADeletedRowWhileOthersPointAtIt) {
  Write({Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  Write({Delete(author_, "[7]", 11)});
  EXPECT_EQ(Authors(), "[7, null, null]");
  EXPECT_EQ(Links(), "[d, 7, 10]");

  Write({Delete(document_, R"(["d"])", 12)});
  EXPECT_EQ(Authors(), "");
}

TEST_F(Neo4jStoreTest, DeletesRowsThatPointAtEachOtherInOneTransaction) {
  Write({Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})"),
         Upsert(document_, R"(["e"])", 11, R"({"id": "e", "title": "U", "author_id": 7})"),
         Upsert(needs_, R"(["d",1])", 12,
                R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "n"})"),
         Upsert(needs_, R"(["e",1])", 13,
                R"({"from_id": "e", "slot": 1, "to_id": "d", "note": "n"})")});
  Write({Delete(author_, "[7]", 20), Delete(document_, R"(["d"])", 21),
         Delete(document_, R"(["e"])", 22), Delete(needs_, R"(["d",1])", 23),
         Delete(needs_, R"(["e",1])", 24)});
  EXPECT_EQ(Documents() + Authors() + Edges(), "");
}

TEST_F(Neo4jStoreTest, ChangesNothingWhenTheSameRowsAreSentAgain) {
  const std::vector<RowWrite> rows{
      Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
      Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})"),
      Upsert(needs_, R"(["d",1])", 11,
             R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "n"})")};
  Write(rows);
  const std::string before = Documents() + Authors() + Links() + Edges();
  Write(rows);
  EXPECT_EQ(Documents() + Authors() + Links() + Edges(), before);

  const std::vector<RowWrite> gone{Delete(document_, R"(["d"])", 20),
                                   Delete(document_, R"(["never"])", 21)};
  Write(gone);
  const std::string after = Documents() + Authors() + Links() + Edges();
  Write(gone);
  EXPECT_EQ(Documents() + Authors() + Links() + Edges(), after);
}

TEST_F(Neo4jStoreTest, IgnoresARowOlderThanWhatTheGraphHolds) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "new", "author_id": 8})"),
         Upsert(needs_, R"(["d",1])", 11,
                R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "new"})")});
  Write({Upsert(document_, R"(["d"])", 5, R"({"id": "d", "title": "old", "author_id": 7})"),
         Upsert(needs_, R"(["d",1])", 6,
                R"({"from_id": "d", "slot": 1, "to_id": "f", "note": "old"})")});
  Write({Delete(document_, R"(["d"])", 7), Delete(needs_, R"(["d",1])", 8)});
  EXPECT_EQ(Documents(), "[d, new, 10]\n[e, null, null]");
  EXPECT_EQ(Links(), "[d, 8, 10]");
  EXPECT_EQ(Edges(), "[d, e, 1, new, 11]");
}

TEST_F(Neo4jStoreTest, WritesNothingForAnEpochThatNoLongerLeads) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "first", "author_id": null})")});
  Neo4jStore successor(options_);
  ASSERT_TRUE(
      successor.Prepare(Fence{prefix_, 2}, std::vector<MappingPtr>{document_}, Soon()).ok());

  const std::vector<RowWrite> rows{
      Upsert(document_, R"(["d"])", 11, R"({"id": "d", "title": "late", "author_id": 1})")};
  Status late = store_->Write(fence_, rows, Soon());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().native_code, kFenced);
  EXPECT_EQ(late.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(Documents(), "[d, first, 10]");
  EXPECT_EQ(Query("MATCH (p:_ApexPipeline {name: '@'}) RETURN p.epoch, p.position"), "[2, 10]");

  Status claim = store_->Prepare(fence_, std::vector<MappingPtr>{document_}, Soon());
  ASSERT_FALSE(claim.ok());
  EXPECT_EQ(claim.error().native_code, kFenced);
  EXPECT_TRUE(successor.Write(Fence{prefix_, 2}, rows, Soon()).ok());
  EXPECT_EQ(Documents(), "[d, late, 11]");
}

// A successor holds the lock while its claim is not committed yet: what the old leader reads, it
// has to read behind the lock.
TEST_F(Neo4jStoreTest, ReadsTheEpochBehindTheLockOfASuccessorsClaim) {
  const std::unique_ptr<BoltConnection> successor = Connect();
  const std::string cypher = Filled(
      "MATCH (p:_ApexPipeline {name: '@'}) SET p.epoch = 2 WITH p UNWIND range(1, 2) AS part "
      "RETURN part");
  const auto blocked = [this] {
    return Query(
        "SHOW TRANSACTIONS YIELD currentQuery, status WHERE status STARTS WITH 'Blocked' AND "
        "currentQuery CONTAINS '_ApexPipeline' RETURN count(*)");
  };
  std::future<Status> late;
  const Status claimed = successor->Stream(
      "neo4j", Statement{cypher, NoParameters(), 0}, "claim", 1, std::chrono::seconds(60),
      [&](const Records&) -> Status {
        if (late.valid()) return {};
        late = std::async(std::launch::async, [this] {
          return store_->Write(
              fence_,
              std::vector<RowWrite>{Upsert(document_, R"(["d"])", 11,
                                           R"({"id": "d", "title": "late", "author_id": 1})")},
              Soon());
        });
        const Deadline deadline = Soon();
        while (blocked() == "[0]" && !deadline.expired()) std::this_thread::yield();
        return {};
      });
  ASSERT_TRUE(claimed.ok()) << Describe(claimed.error());
  const Status status = late.get();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, kFenced);
  EXPECT_EQ(Documents(), "");
}

TEST_F(Neo4jStoreTest, RefusesToWriteWhenNobodyClaimedThePipeline) {
  const std::vector<RowWrite> rows{
      Upsert(document_, R"(["d"])", 11, R"({"id": "d", "title": "T", "author_id": 1})")};
  Status status = store_->Write(Fence{prefix_ + "unclaimed", 1}, rows, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, kFenced);
  EXPECT_EQ(Documents(), "");
  EXPECT_EQ(Query("MATCH (p:_ApexPipeline {name: '@unclaimed'}) RETURN p.name"), "");
}

TEST_F(Neo4jStoreTest, PutsAnUpdateBackToTheAcceptedImageWithItsRelationships) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "good", "author_id": 7})"),
         Upsert(needs_, R"(["d",1])", 11,
                R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "good"})")});
  Write({Upsert(document_, R"(["d"])", 20, R"({"id": "d", "title": "bad", "author_id": 8})"),
         Upsert(needs_, R"(["d",1])", 21,
                R"({"from_id": "d", "slot": 1, "to_id": "f", "note": "bad"})")});
  const std::vector<RowUndo> undo{
      UndoOf(document_, R"(["d"])", 20, 19, R"({"id": "d", "title": "good", "author_id": 7})"),
      UndoOf(needs_, R"(["d",1])", 21, 20,
             R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "good"})")};
  Undo(undo);
  Undo(undo);
  EXPECT_EQ(Documents(), "[d, good, 19]\n[e, null, null]");
  EXPECT_EQ(Links(), "[d, 7, 19]");
  EXPECT_EQ(Authors(), "[7, null, null]");
  EXPECT_EQ(Edges(), "[d, e, 1, good, 20]");
}

TEST_F(Neo4jStoreTest, RemovesAnUndoneInsertButLeavesAStubWhereOthersPointAtIt) {
  Write({Upsert(author_, "[7]", 20, R"({"id": 7, "name": "Ada"})"),
         Upsert(author_, "[8]", 21, R"({"id": 8, "name": "Bob"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})"),
         Upsert(needs_, R"(["d",1])", 22,
                R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "n"})")});
  Undo({UndoOf(author_, "[7]", 20, 19, std::nullopt), UndoOf(author_, "[8]", 21, 20, std::nullopt),
        UndoOf(needs_, R"(["d",1])", 22, 21, std::nullopt)});
  EXPECT_EQ(Authors(), "[7, null, null]");
  EXPECT_EQ(Edges(), "");
  EXPECT_EQ(Documents(), "[d, T, 10]");
}

TEST_F(Neo4jStoreTest, BringsBackAnUndoneDeleteWithWhatPointedAtIt) {
  Write({Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  Write({Delete(author_, "[7]", 20), Delete(document_, R"(["d"])", 21)});
  EXPECT_EQ(Authors() + Documents(), "");
  Undo({UndoOf(author_, "[7]", 20, 19, R"({"id": 7, "name": "Ada"})"),
        UndoOf(document_, R"(["d"])", 21, 20, R"({"id": "d", "title": "T", "author_id": 7})")});
  EXPECT_EQ(Authors(), "[7, Ada, 19]");
  EXPECT_EQ(Links(), "[d, 7, 20]");
}

TEST_F(Neo4jStoreTest, LeavesARowAloneWhenUndoFindsAnotherVersion) {
  Write({Upsert(document_, R"(["older"])", 10,
                R"({"id": "older", "title": "accepted", "author_id": null})"),
         Upsert(document_, R"(["newer"])", 30,
                R"({"id": "newer", "title": "carried on", "author_id": 8})")});
  Undo({UndoOf(document_, R"(["older"])", 20, 19,
               R"({"id": "older", "title": "other", "author_id": 7})"),
        UndoOf(document_, R"(["newer"])", 20, 19,
               R"({"id": "newer", "title": "other", "author_id": 7})")});
  EXPECT_EQ(Documents(), "[newer, carried on, 30]\n[older, accepted, 10]");
  EXPECT_EQ(Links(), "[newer, 8, 30]");
}

TEST_F(Neo4jStoreTest, MovesAJoinRowAndFindsItByItsOwnKey) {
  Write({Upsert(needs_, R"(["d",1])", 10,
                R"({"from_id": "d", "slot": 1, "to_id": "e", "note": "a"})"),
         Upsert(needs_, R"(["d",2])", 11,
                R"({"from_id": "d", "slot": 2, "to_id": "e", "note": "b"})")});
  EXPECT_EQ(Edges(), "[d, e, 1, a, 10]\n[d, e, 2, b, 11]");
  Write({Upsert(needs_, R"(["d",1])", 12,
                R"({"from_id": "d", "slot": 1, "to_id": "f", "note": null})")});
  EXPECT_EQ(Edges(), "[d, f, 1, null, 12]\n[d, e, 2, b, 11]");
  Write({Delete(needs_, R"(["d",2])", 13)});
  EXPECT_EQ(Documents(), "[d, null, null]\n[f, null, null]");
}

TEST_F(Neo4jStoreTest, KeepsWhatOtherApplicationsPutOnANodeAndBesideIt) {
  Write({Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})")});
  Query(
      "MATCH (n:@Document {id: 'd'}) SET n:Reviewed, n.score = 5 CREATE "
      "(n)-[:AUTHORED_BY]->(:@Author {id: 99})");
  Write({Upsert(document_, R"(["d"])", 11, R"({"id": "d", "title": "U", "author_id": null})")});
  EXPECT_EQ(Query("MATCH (n:@Document:Reviewed) RETURN n.title, n.score"), "[U, 5]");
  EXPECT_EQ(Authors(), "[99, null, null]");
}

TEST_F(Neo4jStoreTest, TruncateTakesOlderRowsWithTheirRelationshipsAndUnusedStubs) {
  Write({Upsert(author_, "[7]", 9, R"({"id": 7, "name": "Ada"})"),
         Upsert(document_, R"(["d"])", 10, R"({"id": "d", "title": "T", "author_id": 7})"),
         Upsert(document_, R"(["e"])", 11, R"({"id": "e", "title": "U", "author_id": 8})"),
         Upsert(document_, R"(["f"])", 30, R"({"id": "f", "title": "new", "author_id": 7})"),
         Upsert(needs_, R"(["e",1])", 12,
                R"({"from_id": "e", "slot": 1, "to_id": "d", "note": "n"})")});
  EXPECT_EQ(Truncate(document_, 20), 1);
  EXPECT_EQ(Documents(), "[d, null, null]\n[e, null, null]\n[f, new, 30]")
      << "what a join row points at stays as a stub";
  EXPECT_EQ(Links(), "[f, 7, 30]");
  EXPECT_EQ(Authors(), "[7, Ada, 9]");

  EXPECT_EQ(Truncate(needs_, 21), 1);
  EXPECT_EQ(Edges(), "");
  EXPECT_EQ(Documents(), "[f, new, 30]");
  EXPECT_EQ(Truncate(author_, 22), 1);
  EXPECT_EQ(Authors(), "[7, null, null]") << "f points at it";
  EXPECT_EQ(Truncate(document_, 31), 1);
  EXPECT_EQ(Documents() + Authors(), "");
}

TEST_F(Neo4jStoreTest, TruncateOfATableThatPointsAtItselfAndOfAnEmptyOne) {
  const MappingPtr page =
      Parse(4, Filled(R"({"table": "public.pages", "key": [{"column": "id", "kind": "int"}],
        "columns": [{"column": "id", "kind": "int"}, {"column": "parent_id", "kind": "int"}, {"column": "next_id", "kind": "int"}],
        "aggregate": null, "vector": null, "cache": null,
        "graph": {"kind": "node", "label": "@Page", "properties": [],
                  "relations": [{"type": "CHILD_OF", "via": ["parent_id"], "label": "@Page", "key": ["id"]},
                                {"type": "NEXT", "via": ["next_id"], "label": "@Page", "key": ["id"]}]}})"));
  Prepare({page});
  EXPECT_EQ(Truncate(page, 5), 1);
  Write({Upsert(page, "[1]", 10, R"({"id": 1, "parent_id": 1, "next_id": 2})"),
         Upsert(page, "[2]", 11, R"({"id": 2, "parent_id": 1, "next_id": 3})"),
         Upsert(page, "[4]", 30, R"({"id": 4, "parent_id": 2, "next_id": null})")});
  EXPECT_EQ(Truncate(page, 20), 1);
  EXPECT_EQ(Query("MATCH (n:@Page) RETURN n.id, n._apex_seq ORDER BY n.id"), "[2, null]\n[4, 30]");
  EXPECT_EQ(Query("MATCH (a:@Page)-[r]->(b) RETURN a.id, type(r), b.id"), "[4, CHILD_OF, 2]");
}

TEST_F(Neo4jStoreTest, TruncateTakesALargeTableInPartsAndNothingForAnEpochThatNoLongerLeads) {
  constexpr int kRows = 6000;
  std::vector<RowWrite> rows;
  rows.reserve(kRows);
  for (int id = 0; id < kRows; ++id)
    rows.push_back(Upsert(author_, fmt::format("[{}]", id), id + 1,
                          fmt::format(R"({{"id": {}, "name": "n"}})", id)));
  Write(std::move(rows));
  Neo4jStore next(options_);
  const std::vector<MappingPtr> mappings{author_};
  ASSERT_TRUE(next.Prepare(Fence{prefix_, 2}, mappings, Soon()).ok());
  Result<bool> late = store_->Truncate(fence_, *Truncation(author_, kRows + 1), Soon());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().native_code, kFenced);
  fence_.epoch = 2;
  Prepare({author_});
  EXPECT_EQ(Truncate(author_, kRows + 1), 2);
  EXPECT_EQ(Authors(), "");
}

TEST_F(Neo4jStoreTest, TakesCompositeKeysAndOddNames) {
  const MappingPtr odd = Parse(4, Filled(R"JSON({"table": "public.\"od`d\"",
      "key": [{"column": "a`b", "kind": "int"}, {"column": "ключ \"q\"", "kind": "text"}],
      "columns": [{"column": "a`b", "kind": "int"}, {"column": "ключ \"q\"", "kind": "text"},
                  {"column": "na`me\\", "kind": "text"}, {"column": "up_a", "kind": "int"}, {"column": "up_b", "kind": "text"}],
      "aggregate": null, "vector": null, "cache": null,
      "graph": {"kind": "node", "label": "@Od`d Läbel", "properties": ["na`me\\"],
                "relations": [{"type": "PART`OF ü", "via": ["up_a", "up_b"], "label": "@Od`d Läbel",
                               "key": ["a`b", "ключ \"q\""]}]}})JSON"));
  Prepare({odd});
  Write(
      {Upsert(
           odd, R"([9007199254740993,"x \"y\" `z` 😀"])", 10,
           R"({"a`b": 9007199254740993, "ключ \"q\"": "x \"y\" `z` 😀", "na`me\\": "v`\"'$x", "up_a": 1, "up_b": "p"})"),
       Upsert(
           odd, R"([1,"q"])", 11,
           R"({"a`b": 1, "ключ \"q\"": "q", "na`me\\": "half a key", "up_a": 1, "up_b": null})")});
  EXPECT_EQ(Query("MATCH (n:`@Od``d Läbel`)-[:`PART``OF ü`]->(m) RETURN n.`a``b`, n.`ключ \"q\"`, "
                  "n.`na``me\\`, m.`a``b`, "
                  "m.`ключ \"q\"`"),
            "[9007199254740993, x \"y\" `z` 😀, v`\"'$x, 1, p]");
  EXPECT_EQ(
      Query("MATCH (n:`@Od``d Läbel` {`a``b`: 1, `ключ \"q\"`: 'q'}) RETURN count { (n)--() }"),
      "[0]");
}

TEST_F(Neo4jStoreTest, WritesEachKindAsItsOwnType) {
  const MappingPtr kinds =
      Parse(5, Filled(R"({"table": "public.kinds", "key": [{"column": "id", "kind": "timestamptz"}],
      "columns": [{"column": "id", "kind": "timestamptz"}, {"column": "i", "kind": "int"}, {"column": "f", "kind": "float"},
                  {"column": "b", "kind": "bool"}, {"column": "z", "kind": "timestamptz"},
                  {"column": "t", "kind": "timestamp"}, {"column": "d", "kind": "date"}, {"column": "a", "kind": "int[]"},
                  {"column": "n", "kind": "int[]"}, {"column": "j", "kind": "jsonb"}],
      "aggregate": null, "vector": null, "cache": null,
      "graph": {"kind": "node", "label": "@Kinds", "properties": ["i", "f", "b", "z", "t", "d", "a", "n", "j"],
                "relations": []}})"));
  Prepare({kinds});
  Write({Upsert(
      kinds, R"(["2022-02-22T19:22:22.123456Z"])", 10,
      R"({"id": "2022-02-22T19:22:22.123456Z", "i": 9223372036854775807, "f": 0.1, "b": true,
                    "z": "1969-12-31T23:59:59.5Z", "t": "2022-02-22T19:22:22", "d": "-0043-03-15", "a": [1, 2],
                    "n": [1, null], "j": {"k": [1.50, 18446744073709551616]}})")});
  EXPECT_EQ(Query("MATCH (n:@Kinds) RETURN toString(n.id), n.i, n.f, n.b, toString(n.z), "
                  "toString(n.t), toString(n.d), n.a, "
                  "n.n, n.j"),
            "[2022-02-22T19:22:22.123456Z, 9223372036854775807, 0.1, true, 1969-12-31T23:59:59.5Z, "
            "2022-02-22T19:22:22, -0043-03-15, [1, 2], [1, null], {\"k\": [1.50, "
            "18446744073709551616]}]");
  EXPECT_EQ(Query("MATCH (n:@Kinds) RETURN valueType(n.z), valueType(n.t), valueType(n.d)"),
            "[ZONED DATETIME NOT NULL, LOCAL DATETIME NOT NULL, DATE NOT NULL]");
}

TEST_F(Neo4jStoreTest, NamesColumnAndRowOfAValueNeo4jCannotHoldAndWritesNothing) {
  const MappingPtr dated =
      Parse(6, Filled(R"({"table": "public.dated", "key": [{"column": "id", "kind": "int"}],
      "columns": [{"column": "id", "kind": "int"}, {"column": "due", "kind": "date"}],
      "aggregate": null, "vector": null, "cache": null,
      "graph": {"kind": "node", "label": "@Dated", "properties": ["due"], "relations": []}})"));
  Prepare({dated});
  const std::vector<RowWrite> rows{Upsert(dated, "[1]", 10, R"({"id": 1, "due": "2022-02-22"})"),
                                   Upsert(dated, "[2]", 11, R"({"id": 2, "due": "infinity"})")};
  Status status = store_->Write(fence_, rows, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, kUnencodable);
  EXPECT_THAT(status.error().message, HasSubstr("column due of row [2] of public.dated"));
  EXPECT_EQ(Query("MATCH (n:@Dated) RETURN n.id"), "");
}

TEST_F(Neo4jStoreTest, MakesAConstraintAnewWhoseIndexWasLeftBehindAlone) {
  const std::string show =
      "SHOW CONSTRAINTS YIELD name, labelsOrTypes WHERE labelsOrTypes = ['@Author'] RETURN name";
  const std::string shown = Query(show);
  const std::string name = shown.substr(1, shown.size() - 2);
  ASSERT_THAT(name, StartsWith("constraint_"));
  EXPECT_EQ(Query("DROP CONSTRAINT " + name), "");
  // An index in its own right cannot be had on what a constraint is to cover; the name is what
  // stays in the way.
  EXPECT_EQ(Query("CREATE INDEX " + name + " FOR (n:@Elsewhere) ON (n.id)"), "");
  Prepare({author_});
  EXPECT_EQ(Query(show), shown);
}

TEST_F(Neo4jStoreTest, StaysUsableAfterARowTheServerRefuses) {
  const std::string huge(100000, 'x');
  const std::vector<RowWrite> rows{
      Upsert(document_, "[\"" + huge + "\"]", 10, R"({"id": "h", "title": "T", "author_id": 1})")};
  Status status = store_->Write(fence_, rows, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent) << Describe(status.error());
  Write({Upsert(document_, R"(["d"])", 11, R"({"id": "d", "title": "T", "author_id": null})")});
  EXPECT_EQ(Documents(), "[d, T, 11]");
}

TEST_F(Neo4jStoreTest, WritesMoreRowsThanOneStatementTakes) {
  constexpr int kRows = 2500;
  std::vector<RowWrite> rows;
  rows.reserve(kRows);
  for (int i = 0; i < kRows; ++i) {
    rows.push_back(Upsert(document_, fmt::format("[\"d{}\"]", i), 100 + i,
                          fmt::format(R"({{"id": "d{}", "title": "{}", "author_id": {}}})", i,
                                      std::string(2000, 't'), i % 7)));
  }
  Write(rows);
  EXPECT_EQ(
      Query("MATCH (n:@Document)-[:AUTHORED_BY]->(m:@Author) RETURN count(n), count(DISTINCT m)"),
      "[2500, 7]");
}

TEST_F(Neo4jStoreTest, ReachesTheServerThroughItsRoutingTable) {
  Options routed = options_;
  routed.uri.replace(0, routed.uri.find("://"), "neo4j");
  Neo4jStore store(routed);
  Status status = store.Ping(Soon());
  EXPECT_TRUE(status.ok()) << Describe(status.error());
}

}  // namespace
}  // namespace apex::neo4j
