#include "bolt.h"

#include <cstdint>
#include <optional>

#include "stores/neo4j/framing.h"
#include "stores/neo4j/packstream.h"

namespace apex::sink {
namespace {

using neo4j::packstream::Writer;

constexpr uint8_t kGoodbye = 0x02, kRun = 0x10, kPull = 0x3F;
constexpr uint8_t kSuccess = 0x70, kRecord = 0x71;
constexpr size_t kHandshakeBytes = 20;
constexpr std::string_view kBolt54("\0\0\x04\x05", 4);

/// The size in the header at the start of `bytes`, which is moved behind it. `tiny` is the marker
/// of sizes below 16 and `marker8` that of one-byte sizes, followed by the two wider ones.
std::optional<uint32_t> Size(std::string_view& bytes, uint8_t tiny, uint8_t marker8) {
  if (bytes.empty()) return std::nullopt;
  const auto marker = static_cast<uint8_t>(bytes.front());
  bytes.remove_prefix(1);
  if ((marker & 0xF0) == tiny) return marker & 0x0F;
  if (marker < marker8 || marker > marker8 + 2) return std::nullopt;
  const size_t width = size_t{1} << (marker - marker8);
  if (bytes.size() < width) return std::nullopt;
  uint32_t size = 0;
  for (size_t i = 0; i < width; ++i) size = size << 8 | static_cast<uint8_t>(bytes[i]);
  bytes.remove_prefix(width);
  return size;
}

std::optional<std::string_view> Text(std::string_view& bytes) {
  const std::optional<uint32_t> size = Size(bytes, 0x80, 0xD0);
  if (!size || *size > bytes.size()) return std::nullopt;
  const std::string_view text = bytes.substr(0, *size);
  bytes.remove_prefix(*size);
  return text;
}

/// What the statement counts: the length of `$batch.rows`, else the one row of the statements
/// without.
int64_t RowsOf(std::string_view run) {
  run.remove_prefix(2);  // The structure's header and tag.
  if (!Text(run)) return 1;
  const std::optional<uint32_t> parameters = Size(run, 0xA0, 0xD8);
  if (parameters.value_or(0) == 0 || Text(run) != "batch") return 1;
  if (Size(run, 0xA0, 0xD8).value_or(0) == 0 || Text(run) != "rows") return 1;
  return Size(run, 0x90, 0xD4).value_or(1);
}

void AppendSuccess(std::string& out) {
  std::string message;
  Writer writer(message);
  writer.StructureHeader(1, kSuccess);
  writer.MapHeader(0);
  neo4j::AppendChunked(message, out);
}

void AppendRecord(int64_t rows, std::string& out) {
  std::string message;
  Writer writer(message);
  writer.StructureHeader(1, kRecord);
  writer.ListHeader(1);
  writer.Int(rows);
  neo4j::AppendChunked(message, out);
}

}  // namespace

void ServeBolt(Peer& peer) {
  neo4j::Dechunker dechunker;
  std::string& input = dechunker.input();
  while (input.size() < kHandshakeBytes) {
    if (!peer.Receive(input)) return;
  }
  input.erase(0, kHandshakeBytes);
  if (!peer.Send(kBolt54)) return;
  int64_t rows = 1;
  for (;;) {
    std::string answers;
    while (const std::optional<std::string> message = dechunker.Next()) {
      if (message->size() < 2) return;
      const auto tag = static_cast<uint8_t>((*message)[1]);
      if (tag == kGoodbye) return;
      if (tag == kRun) rows = RowsOf(*message);
      if (tag == kPull) AppendRecord(rows, answers);
      AppendSuccess(answers);
    }
    if (dechunker.overflowed() || !peer.Send(answers) || !peer.Receive(input)) return;
  }
}

}  // namespace apex::sink
