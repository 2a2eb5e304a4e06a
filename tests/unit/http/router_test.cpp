#include "http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace apex::http {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

constexpr const char* kSaga = "0190163d-8694-739b-aea5-966c26f8ad91";
constexpr const char* kToken = "correct horse";

class RouterTest : public testing::Test {
 protected:
  Response Ask(const std::string& method, const std::string& path,
               const std::string& authorization = "") {
    Router router(token_,
                  {.metrics = [] { return std::string("apex_leader 1\n"); },
                   .not_ready = [this] { return not_ready_; },
                   .status = [this] { return status_; },
                   .retry = [this](const std::string& saga) { return Change("retry " + saga); },
                   .discard = [this](const std::string& saga) { return Change("discard " + saga); },
                   .cached_row =
                       [this](const std::string& entity, const std::vector<std::string>& key) {
                         calls_.push_back("row " + entity);
                         calls_.insert(calls_.end(), key.begin(), key.end());
                         return row_;
                       },
                   .cache = [this] { return cache_; }});
    return router.Handle({.method = method,
                          .path = path,
                          .raw_path = path,
                          .authorization = authorization,
                          .if_none_match = if_none_match_});
  }
  Response Get(const std::string& path) { return Ask("GET", path); }
  Response Retry(const std::string& authorization) {
    return Ask("POST", std::string("/api/v1/sagas/") + kSaga + "/retry", authorization);
  }
  Status Change(const std::string& call) {
    calls_.push_back(call);
    return outcome_;
  }

  std::string token_ = kToken;
  std::vector<std::string> not_ready_;
  Result<std::string> status_ = std::string(R"({"role":"leader"})");
  Status outcome_;
  CachedRow row_{.status = 200, .source = "HIT", .text = R"({"id":1})"};
  Result<std::string> cache_ = std::string(R"({"total_keys":3})");
  std::string if_none_match_;
  std::vector<std::string> calls_;
};

StoreError Failure(ErrorKind kind, const char* code) {
  return {.store = Store::kPostgres,
          .operation = "retry",
          .kind = kind,
          .native_code = code,
          .message = "so it is",
          .retry_after = {}};
}

TEST_F(RouterTest, ServesMetricsAsPrometheusText) {
  const Response response = Get("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.body, "apex_leader 1\n");
}

TEST_F(RouterTest, IsAliveEvenWhenNotReady) {
  not_ready_ = {"qdrant: connection refused"};
  EXPECT_EQ(Get("/livez").status, 200);
  const Response ready = Get("/readyz");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(json::parse(ready.body),
            (json{{"ready", false}, {"not_ready", {"qdrant: connection refused"}}}));
}

TEST_F(RouterTest, IsReadyWhenNothingIsMissing) {
  const Response ready = Get("/readyz");
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(json::parse(ready.body), (json{{"ready", true}, {"not_ready", json::array()}}));
}

TEST_F(RouterTest, PassesTheStatusOnAsItIs) {
  const Response response = Get("/api/v1/status");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"role\":\"leader\"}\n");
}

TEST_F(RouterTest, SaysThatTheDatabaseIsAwayWhenTheStatusIs) {
  status_ = Failure(ErrorKind::kTransient, "08006");
  const Response response = Get("/api/v1/status");
  EXPECT_EQ(response.status, 503);
  EXPECT_THAT(json::parse(response.body)["error"].get<std::string>(), HasSubstr("so it is"));
}

TEST_F(RouterTest, ServesAConsoleThatLoadsNothingFromElsewhere) {
  const Response response = Get("/");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.content_type, HasSubstr("text/html"));
  EXPECT_THAT(response.body, HasSubstr("/api/v1/status"));
  EXPECT_THAT(response.body, Not(HasSubstr("http://")));
  EXPECT_THAT(response.body, Not(HasSubstr("https://")));
  EXPECT_THAT(response.body, Not(HasSubstr("innerHTML")));
  EXPECT_THAT(response.headers,
              Contains(Pair("Content-Security-Policy", HasSubstr("default-src 'none'"))));
}

TEST_F(RouterTest, RetriesAndDiscardsWithTheToken) {
  const std::string bearer = std::string("Bearer ") + kToken;
  EXPECT_EQ(Retry(bearer).status, 200);
  const Response discarded =
      Ask("POST", std::string("/api/v1/sagas/") + kSaga + "/discard", bearer);
  EXPECT_EQ(discarded.status, 200);
  EXPECT_EQ(json::parse(discarded.body), (json{{"saga", kSaga}, {"done", "discard"}}));
  EXPECT_THAT(calls_,
              testing::ElementsAre(std::string("retry ") + kSaga, std::string("discard ") + kSaga));
}

TEST_F(RouterTest, RefusesChangesWithoutTheRightToken) {
  for (const char* authorization : {"", "Bearer ", "Bearer wrong", "Bearer correct horses",
                                    "correct horse", "Basic correct horse"}) {
    const Response response = Retry(authorization);
    EXPECT_EQ(response.status, 401) << authorization;
    EXPECT_THAT(response.headers, Contains(Pair("WWW-Authenticate", "Bearer")));
    EXPECT_THAT(response.body, Not(HasSubstr(kToken)));
  }
  EXPECT_TRUE(calls_.empty());
}

TEST_F(RouterTest, RefusesChangesWhenNoTokenIsConfigured) {
  token_ = "";
  for (const char* authorization : {"", "Bearer ", "Bearer x"}) {
    const Response response = Retry(authorization);
    EXPECT_EQ(response.status, 403);
    EXPECT_THAT(response.body, HasSubstr("APEX_HTTP_TOKEN"));
  }
  EXPECT_TRUE(calls_.empty());
}

TEST_F(RouterTest, TellsTheCallersFaultFromTheDatabases) {
  const std::string bearer = std::string("Bearer ") + kToken;
  outcome_ = Failure(ErrorKind::kPermanent, "P0002");
  EXPECT_EQ(Retry(bearer).status, 404);
  outcome_ = Failure(ErrorKind::kPermanent, "55000");
  EXPECT_EQ(Retry(bearer).status, 409);
  EXPECT_EQ(json::parse(Retry(bearer).body), (json{{"error", "so it is"}}));
  outcome_ = Failure(ErrorKind::kTransient, "08006");
  EXPECT_EQ(Retry(bearer).status, 503);
}

TEST_F(RouterTest, RefusesASagaThatIsNoUuid) {
  const std::string bearer = std::string("Bearer ") + kToken;
  for (const char* saga :
       {"1", "", "0190163d-8694-739b-aea5-966c26f8ad9g", "0190163d-8694-739b-aea5-966c26f8ad91'"}) {
    EXPECT_EQ(Ask("POST", std::string("/api/v1/sagas/") + saga + "/retry", bearer).status, 400)
        << saga;
  }
  EXPECT_TRUE(calls_.empty());
}

TEST_F(RouterTest, TellsTheCachesFiguresOrWhyItCannot) {
  EXPECT_EQ(Get("/api/v1/cache").body, "{\"total_keys\":3}\n");
  cache_ = Failure(ErrorKind::kTransient, "apex.unreachable");
  EXPECT_EQ(Get("/api/v1/cache").status, 503);
}

TEST_F(RouterTest, AnswersARowWithATagAndWhereItIsFrom) {
  token_ = "";
  const Response response = Get("/api/v1/cache/document/1");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"id":1})");
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_THAT(response.headers, Contains(Pair("X-Cache", "HIT")));
  EXPECT_THAT(response.headers, Contains(Pair("Cache-Control", "no-cache")));
  EXPECT_THAT(response.headers, Contains(Pair("ETag", testing::MatchesRegex("\"[0-9a-f]{32}\""))));
  EXPECT_THAT(calls_, testing::ElementsAre("row document", "1"));
}

TEST_F(RouterTest, ARowThatHasNotChangedIsNotSentAgain) {
  token_ = "";
  const auto tag = [](const Response& response) {
    const auto found = std::ranges::find_if(
        response.headers, [](const auto& header) { return header.first == "ETag"; });
    return found == response.headers.end() ? std::string() : found->second;
  };
  const std::string first = tag(Get("/api/v1/cache/document/1"));
  for (const std::string& known : {first, "W/" + first, "\"x\", " + first, std::string("*")}) {
    if_none_match_ = known;
    const Response again = Get("/api/v1/cache/document/1");
    EXPECT_EQ(again.status, 304) << known;
    EXPECT_EQ(again.body, "");
    EXPECT_EQ(tag(again), first);
  }
  if_none_match_ = first;
  row_.text = R"({"id":2})";
  EXPECT_EQ(Get("/api/v1/cache/document/1").status, 200);
  EXPECT_NE(tag(Get("/api/v1/cache/document/1")), first);
}

TEST_F(RouterTest, PartsOfAKeyAreDecodedOneByOne) {
  token_ = "";
  Get("/api/v1/cache/page/a%2Fb%25/%C3%a4");
  EXPECT_THAT(calls_, testing::ElementsAre("row page", "a/b%", "\xC3\xA4"));
  for (const char* path :
       {"/api/v1/cache/", "/api/v1/cache/document", "/api/v1/cache/document/", "/api/v1/cache//1",
        "/api/v1/cache/document/%2", "/api/v1/cache/d/%zz"}) {
    EXPECT_EQ(Get(path).status, 400) << path;
  }
}

TEST_F(RouterTest, SaysWhyThereIsNoRow) {
  token_ = "";
  for (const int status : {400, 404, 503}) {
    row_ = {.status = status, .source = "", .text = "so it is"};
    const Response response = Get("/api/v1/cache/document/1");
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(json::parse(response.body), (json{{"error", "so it is"}}));
    EXPECT_THAT(response.headers, Contains(Pair("Cache-Control", "no-store")));
  }
  EXPECT_THAT(Get("/api/v1/cache/document/1").headers, Contains(Pair("Retry-After", "1")));
  EXPECT_EQ(Ask("POST", "/api/v1/cache/document/1").status, 405);
}

TEST_F(RouterTest, RowsNeedTheTokenOnceThereIsOne) {
  EXPECT_EQ(Get("/api/v1/cache/document/1").status, 401);
  EXPECT_EQ(Ask("GET", "/api/v1/cache/document/1", "Bearer wrong").status, 401);
  EXPECT_TRUE(calls_.empty());
  EXPECT_EQ(Ask("GET", "/api/v1/cache/document/1", std::string("Bearer ") + kToken).status, 200);
  EXPECT_EQ(Get("/api/v1/cache").status, 200);
}

TEST_F(RouterTest, AnswersUnknownAddressesAndMethodsInJson) {
  for (const char* path : {"/nothing", "/metrics/", "/api/v1", "/api/v1/sagas/", "/api/v1/sagas/x",
                           "/api/v1/sagas/x/explode"}) {
    const Response response = Get(path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_TRUE(json::parse(response.body).contains("error"));
  }
  const Response posted = Ask("POST", "/metrics");
  EXPECT_EQ(posted.status, 405);
  EXPECT_THAT(posted.headers, Contains(Pair("Allow", "GET, HEAD")));
  const Response got = Get(std::string("/api/v1/sagas/") + kSaga + "/retry");
  EXPECT_EQ(got.status, 405);
  EXPECT_THAT(got.headers, Contains(Pair("Allow", "POST")));
}

TEST(RouterFailureTest, TurnsAnExceptionIntoAnAnswer) {
  Router router("", {.metrics = []() -> std::string { throw std::runtime_error("out of numbers"); },
                     .not_ready = {},
                     .status = {},
                     .retry = {},
                     .discard = {},
                     .cached_row = {},
                     .cache = {}});
  const auto get = [&router](const char* path) {
    return router.Handle({.method = "GET",
                          .path = path,
                          .raw_path = path,
                          .authorization = "",
                          .if_none_match = ""});
  };
  const Response response = get("/metrics");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(json::parse(response.body), (json{{"error", "out of numbers"}}));
  EXPECT_EQ(get("/readyz").status, 500);
  EXPECT_EQ(get("/api/v1/cache").status, 404);
  EXPECT_EQ(get("/api/v1/cache/document/1").status, 404);
}

}  // namespace
}  // namespace apex::http
