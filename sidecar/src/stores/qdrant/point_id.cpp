#include "stores/qdrant/point_id.h"

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "stores/qdrant/wire.h"

namespace apex::qdrant {
namespace {

// 6ba7b811-9dad-11d1-80b4-00c04fd430c8, RFC 9562's namespace of URLs.
constexpr std::array<uint8_t, 16> kNamespace = {0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
                                                0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

std::string Format(const uint8_t* bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 0xf]);
  }
  return text;
}

}  // namespace

std::string UuidV5(std::string_view name) {
  std::string input(kNamespace.begin(), kNamespace.end());
  input.append(name);
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  if (EVP_Digest(input.data(), input.size(), digest.data(), &length, EVP_sha1(), nullptr) != 1) {
    throw std::runtime_error("this OpenSSL offers no SHA-1");
  }
  digest[6] = (digest[6] & 0x0f) | 0x50;
  digest[8] = (digest[8] & 0x3f) | 0x80;
  return Format(digest.data());
}

::qdrant::PointId PointIdOf(const TableMapping& mapping, const RowId& row) {
  ::qdrant::PointId id;
  const auto key = nlohmann::json::parse(row.key, nullptr, /*allow_exceptions=*/false);
  if (mapping.key.size() == 1 && key.is_array() && key.size() == 1) {
    const ColumnKind kind = mapping.key[0].kind;
    if (kind == ColumnKind::kUuid && key[0].is_string()) {
      id.set_uuid(key[0].get_ref<const std::string&>());
      return id;
    }
    if (kind == ColumnKind::kInt && key[0].is_number_unsigned()) {
      id.set_num(key[0].get<uint64_t>());
      return id;
    }
  }
  // Written anew, so that spaces in the text do not make another id.
  const std::string compact = key.is_discarded() ? row.key : key.dump();
  id.set_uuid(UuidV5(mapping.table + "\t" + compact));
  return id;
}

void AppendPointId(const TableMapping& mapping, const RowId& row, std::string& out) {
  // ["0190a5e0-..."], which is what most keys are, needs no parser.
  constexpr size_t kUuidBytes = 36;
  const bool is_uuid = mapping.key.size() == 1 && mapping.key[0].kind == ColumnKind::kUuid &&
                       row.key.size() == kUuidBytes + 4 && row.key.starts_with("[\"") &&
                       row.key.ends_with("\"]");
  if (is_uuid) {
    wire::Writer(out).Bytes(::qdrant::PointId::kUuidFieldNumber,
                            std::string_view(row.key).substr(2, kUuidBytes));
  } else {
    PointIdOf(mapping, row).AppendToString(&out);
  }
}

}  // namespace apex::qdrant
