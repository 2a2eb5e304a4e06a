// Makes replies of the bytes that a Redis server sends, in whatever pieces they come: hiredis's
// reader, over bytes that come by a transport of ours.
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
  struct Free {
    void operator()(redisReader* reader) const;
  };

  std::unique_ptr<redisReader, Free> reader_;
  std::string incoming_;
};

}  // namespace apex::redis
