// Whether a collection, or a server, is fit for a mapping. Pure.
#pragma once

#include <string_view>

#include "core/mapping.h"
#include "core/result.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

::qdrant::CreateCollection CreateRequest(const VectorMapping& vector);

/// Permanent, "apex.collection": names the collection, what it holds, what the table sends, and
/// what to do.
Status CheckCollection(const TableMapping& mapping, const ::qdrant::CollectionInfo& info);

/// Permanent, "apex.version": before 1.16 Qdrant ignores the condition of an update, and an older
/// row would overwrite a newer one without a word.
Status CheckVersion(std::string_view version);

}  // namespace apex::qdrant
