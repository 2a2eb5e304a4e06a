#include "stores/qdrant/collection_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace apex::qdrant {
namespace {

using testing::HasSubstr;

TableMapping Mapping() {
  TableMapping mapping;
  mapping.table = "public.documents";
  mapping.vector.emplace();
  mapping.vector->collection = "documents";
  mapping.vector->dimensions = 384;
  return mapping;
}

::qdrant::CollectionInfo Info(const ::qdrant::VectorsConfig& vectors) {
  ::qdrant::CollectionInfo info;
  *info.mutable_config()->mutable_params()->mutable_vectors_config() = vectors;
  return info;
}

TEST(CollectionCheckTest, CollectionMadeFromTheMappingFits) {
  for (const Distance distance :
       {Distance::kCosine, Distance::kDot, Distance::kEuclid, Distance::kManhattan}) {
    TableMapping mapping = Mapping();
    mapping.vector->distance = distance;
    EXPECT_TRUE(
        CheckCollection(mapping, Info(CreateRequest(*mapping.vector).vectors_config())).ok());
  }
}

TEST(CollectionCheckTest, OtherDimensionIsPermanentAndNamesCollectionBothDimensionsAndTheRemedy) {
  ::qdrant::VectorsConfig vectors;
  vectors.mutable_params()->set_size(256);
  vectors.mutable_params()->set_distance(::qdrant::Cosine);
  const Status status = CheckCollection(Mapping(), Info(vectors));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, "apex.collection");
  EXPECT_EQ(status.error().message,
            "collection \"documents\" holds vectors of 256 dimensions by Cosine distance, but "
            "public.documents sends one "
            "unnamed vector of 384 dimensions by Cosine distance; delete the collection so that it "
            "is made anew, or attach "
            "the table to another collection");
}

TEST(CollectionCheckTest, OtherDistanceIsRefused) {
  ::qdrant::VectorsConfig vectors;
  vectors.mutable_params()->set_size(384);
  vectors.mutable_params()->set_distance(::qdrant::Dot);
  const Status status = CheckCollection(Mapping(), Info(vectors));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("by Dot distance"));
}

TEST(CollectionCheckTest, CollectionOfNamedVectorsIsRefused) {
  ::qdrant::VectorsConfig vectors;
  (*vectors.mutable_params_map()->mutable_map())["title"].set_size(384);
  const Status status = CheckCollection(Mapping(), Info(vectors));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("holds no unnamed vector"));
}

TEST(CollectionCheckTest, NamedVectorIsFoundAmongOthersByItsName) {
  TableMapping mapping = Mapping();
  mapping.vector->name = "title";
  ::qdrant::VectorsConfig vectors = CreateRequest(*mapping.vector).vectors_config();
  ASSERT_EQ(vectors.params_map().map().count("title"), 1u);
  (*vectors.mutable_params_map()->mutable_map())["body"].set_size(7);
  EXPECT_TRUE(CheckCollection(mapping, Info(vectors)).ok());
  mapping.vector->name = "body";
  const Status other = CheckCollection(mapping, Info(vectors));
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("holds vectors of 7 dimensions"));
  mapping.vector->name = "summary";
  const Status missing = CheckCollection(mapping, Info(vectors));
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message,
              HasSubstr("holds no vector named \"summary\", but public.documents sends one vector "
                        "named \"summary\" of 384 dimensions"));
  EXPECT_FALSE(
      CheckCollection(mapping, Info(CreateRequest(*Mapping().vector).vectors_config())).ok())
      << "the collection has the unnamed vector alone";
}

TEST(CollectionCheckTest, VersionWithoutConditionalUpdatesIsRefused) {
  for (const char* version : {"1.15.5", "1.9.0", "0.11.7"}) {
    const Status status = CheckVersion(version);
    ASSERT_FALSE(status.ok()) << version;
    EXPECT_EQ(status.error().native_code, "apex.version");
  }
  for (const char* version : {"1.16.0", "1.20.1-dev", "2.0.0", "", "dev"})
    EXPECT_TRUE(CheckVersion(version).ok());
}

}  // namespace
}  // namespace apex::qdrant
