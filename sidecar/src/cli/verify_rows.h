// PostgreSQL as verifying and repairing see it.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "stores/postgres/admin.h"
#include "stores/postgres/table_reader.h"
#include "verify/row_source.h"

namespace apex::cli {

class PostgresRows : public verify::RowSource {
 public:
  /// `sync_patience`: how long the stores may be behind.
  PostgresRows(postgres::AdminOptions options, postgres::Admin& admin,
               std::chrono::milliseconds sync_patience)
      : reader_(std::move(options)), admin_(admin), sync_patience_(sync_patience) {}

  Status ReadAll(const MappingPtr& mapping,
                 const std::function<Status(std::vector<TableRow>)>& page) override;
  Result<std::vector<TableRow>> ReadThese(const MappingPtr& mapping,
                                          const std::vector<std::string>& keys) override;
  Result<std::set<std::string>> ReadParked(const MappingPtr& mapping) override;
  Result<int64_t> NewestVersion() override;
  Status WaitSynced() override;
  Status Refresh(const MappingPtr& mapping, const std::vector<std::string>& keys) override;

 private:
  postgres::TableReader reader_;
  postgres::Admin& admin_;
  std::chrono::milliseconds sync_patience_;
};

}  // namespace apex::cli
