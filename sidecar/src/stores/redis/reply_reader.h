// Makes replies of the bytes that a Redis server sends, in whatever pieces they come: hiredis's
// reader, over bytes that come by a transport of ours and into replies of ours, so that none is
// made twice.
//
// One thread uses it.
#pragma once

#include <memory>
#include <string>

#include "stores/redis/reply.h"

struct redisReader;

namespace apex::redis {

/// Whether this build's hiredis understands RESP3: from 1.0 on.
bool UnderstandsResp3();
/// "hiredis 1.2.0".
std::string ReaderVersion();

class ReplyReader {
 public:
  ReplyReader();

  /// Where the bytes that arrive are appended.
  std::string& incoming() { return incoming_; }

  enum class State { kReply, kNeedsMore, kBroken };
  /// The next reply in `reply`, once it is there whole. kBroken: what came is no reply, and nothing
  /// further can be read. Messages that nobody asked for are passed over.
  State Next(Reply& reply);

 private:
  struct Functions;
  struct Free {
    void operator()(redisReader* reader) const;
  };
  /// The reply that hiredis is making.
  struct Making {
    Reply reply{};
    bool unasked = false;
  };

  std::unique_ptr<Making> making_;  ///< Where hiredis knows it.
  std::unique_ptr<redisReader, Free> reader_;
  std::string incoming_;
};

}  // namespace apex::redis
