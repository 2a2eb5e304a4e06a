// What a Redis server answers, the same whether it speaks RESP2 or RESP3. A value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace apex::redis {

struct Reply {
  enum class Type {
    kNil,
    kInteger,  ///< RESP3's booleans, too.
    kText,     ///< Also numbers that are no integers of 64 bits.
    kArray,    ///< Also RESP3's sets, and its maps as names and values in turn.
    kError,    ///< A refusal; its words are the text.
  };

  Type type = Type::kNil;
  int64_t integer = 0;
  std::string text{};
  std::vector<Reply> elements{};
};

}  // namespace apex::redis
