// What a server may send: chunks of any size, cut anywhere, and any value in them.
#include <cstdint>
#include <string>
#include <string_view>

#include "stores/neo4j/bolt_connection.h"
#include "stores/neo4j/framing.h"
#include "stores/neo4j/packstream.h"
#include "stores/neo4j/router.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace apex::neo4j;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  // The first byte says how much comes at once.
  const size_t piece = data[0] + 1U;
  Dechunker dechunker;
  for (size_t at = 0; at < bytes.size() && !dechunker.overflowed(); at += piece) {
    dechunker.input().append(bytes.substr(at, piece));
    while (const auto message = dechunker.Next()) {
      std::string_view rest = *message;
      if (const auto value = packstream::Decode(rest)) ParseRoutingTable(*value);
    }
  }
  std::string_view plain = bytes;
  if (const auto value = packstream::Decode(plain)) ParseRoutingTable(*value);
  if (size >= 4) HandshakeAnswer({data[0], data[1], data[2], data[3]});
  return 0;
}
