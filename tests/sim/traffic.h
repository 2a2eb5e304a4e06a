// The checker's eye on what one leader sends: rules E1, E4, E9 and G4, as they can be seen from
// outside of the engine.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "options.h"
#include "saga/events.h"

namespace apex::sim {

class Traffic {
 public:
  explicit Traffic(Violations& violations) : violations_(violations) {}

  void HandedOut(const Piece& piece);
  void Sent(const saga::Write& write);
  void Sent(const saga::Undo& undo);
  void Answered(const saga::Write& write);
  void Answered(const saga::Undo& undo);
  /// Nobody is parked for another's fault: some row of the group is really refused, in its newest
  /// image.
  void Blamed(const FailureRecord& record);

 private:
  struct Holder {
    std::string owner;
    int requests = 0;
  };

  void Hold(const RowId& row, const std::string& owner);
  void Release(const RowId& row);
  void CheckTogether(const saga::Write& write);
  void CheckAlone(const RowId& row);

  Violations& violations_;
  std::map<int64_t, ChangePtr> changes_;   ///< Everything the leader was handed, by seq.
  std::map<uint32_t, int64_t> truncated_;  ///< Up to which seq each table was truncated.
  std::map<RowId, Holder> in_flight_;
  std::map<std::pair<Store, RowId>, int64_t> last_sent_;
  std::map<std::pair<uint64_t, RowId>, std::vector<ChangePtr>> sagas_;
};

}  // namespace apex::sim
