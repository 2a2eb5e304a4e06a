// Rows as Qdrant's update operations (design, section 3a), encoded straight to bytes.
//
// Every operation carries a condition on the stored `_apex_seq`, so that sending it again, or after
// a newer one, changes nothing. A PointEncoder keeps its buffers and what it has prepared for each
// mapping between rows; one thread uses it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/change.h"
#include "core/result.h"

namespace qdrant {
class PointsSelector;
}

namespace apex::qdrant {

/// The payload field that holds a point's version.
inline constexpr std::string_view kSeqField = "_apex_seq";

class PointEncoder {
 public:
  PointEncoder();
  ~PointEncoder();

  /// Upserts the newest image, or deletes the point when the row or its embedding is gone; applies
  /// where the stored version is lower or there is none. A PointsUpdateOperation, valid until the
  /// next call. The error is permanent, has native_code kUnencodable and names column and row.
  /// `write.newest->mapping` names a vector.
  Result<std::string_view> Write(const RowWrite& write);

  /// Puts the newest image's payload in place of the one that the point has, and leaves its vector
  /// alone; applies only where the store holds exactly version `held`. Otherwise as Write, of a row
  /// that has an embedding.
  Result<std::string_view> WritePayload(const RowWrite& write, int64_t held);

  /// Puts the accepted image back, or deletes the point; applies where the store holds a version
  /// above accepted_seq up to failed_seq or, for an image to restore, nothing (the row had been
  /// deleted). `undo.mapping` names a vector.
  Result<std::string_view> Undo(const RowUndo& undo);

 private:
  struct Plan;
  class Image;

  const Plan& PlanOf(const MappingPtr& mapping);
  /// Makes payload_ of the image, as entries of field `number`. Only the columns of the payload are
  /// parsed: a value that another store alone needs cannot be at fault here.
  Status EncodePayload(const Plan& plan, const RowId& row, int64_t seq, std::string_view image,
                       int number);
  Result<std::string_view> Upsert(const Plan& plan, const RowId& row, int64_t seq,
                                  std::string_view image, std::string_view embedding);
  std::string_view Delete(const Plan& plan, const RowId& row);
  void SelectOne(const Plan& plan, const RowId& row, ::qdrant::PointsSelector& selector) const;

  std::unordered_map<const TableMapping*, std::unique_ptr<const Plan>> plans_;
  std::unique_ptr<Image> image_;
  std::string id_;       ///< A PointId.
  std::string payload_;  ///< The payload fields of a PointStruct or an OverwritePayload.
  std::string filter_;   ///< A Filter.
  std::string operation_;
};

}  // namespace apex::qdrant
