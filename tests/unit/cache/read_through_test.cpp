#include "cache/read_through.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace apex::cache {
namespace {

using testing::Eq;
using testing::Optional;

using Texts = std::vector<std::string>;

TableMapping MappingOf(std::vector<Column> key) {
  TableMapping mapping;
  mapping.key = std::move(key);
  return mapping;
}

TEST(CanonicalKeyTest, GivesEveryValueOneSpelling) {
  const TableMapping numbers = MappingOf({{.name = "id", .kind = ColumnKind::kInt}});
  EXPECT_THAT(CanonicalKey(numbers, {"7"}), Optional(Texts{"7"}));
  EXPECT_THAT(CanonicalKey(numbers, {"-0070"}), Optional(Texts{"-70"}));
  EXPECT_THAT(CanonicalKey(numbers, {"-0"}), Optional(Texts{"0"}));
  EXPECT_THAT(CanonicalKey(numbers, {"9223372036854775807"}),
              Optional(Texts{"9223372036854775807"}));

  const TableMapping uuids = MappingOf({{.name = "id", .kind = ColumnKind::kUuid}});
  EXPECT_THAT(CanonicalKey(uuids, {"0190163D-8694-739B-AEA5-966C26F8AD91"}),
              Optional(Texts{"0190163d-8694-739b-aea5-966c26f8ad91"}));
  EXPECT_THAT(CanonicalKey(uuids, {"{0190163d8694739baea5966c26f8ad91}"}),
              Optional(Texts{"0190163d-8694-739b-aea5-966c26f8ad91"}));
}

TEST(CanonicalKeyTest, LeavesTextAsItIs) {
  const TableMapping pages = MappingOf(
      {{.name = "book", .kind = ColumnKind::kText}, {.name = "number", .kind = ColumnKind::kInt}});
  EXPECT_THAT(CanonicalKey(pages, {" A/*", "01"}), Optional(Texts{" A/*", "1"}));
}

TEST(CanonicalKeyTest, RefusesWhatNoRowCanHave) {
  const TableMapping numbers = MappingOf({{.name = "id", .kind = ColumnKind::kInt}});
  for (const char* text : {"", "-", "x", "1x", "1.0", " 1", "10000000000000000000000"})
    EXPECT_THAT(CanonicalKey(numbers, {text}), Eq(std::nullopt)) << text;
  EXPECT_THAT(CanonicalKey(numbers, {"1", "2"}), Eq(std::nullopt));
  EXPECT_THAT(CanonicalKey(numbers, {}), Eq(std::nullopt));

  const TableMapping uuids = MappingOf({{.name = "id", .kind = ColumnKind::kUuid}});
  for (const char* text : {"", "0190163d", "0190163d-8694-739b-aea5-966c26f8ad9g",
                           "0190163d-8694-739b-aea5-966c26f8ad911"})
    EXPECT_THAT(CanonicalKey(uuids, {text}), Eq(std::nullopt)) << text;
}

}  // namespace
}  // namespace apex::cache
