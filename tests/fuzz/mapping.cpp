// A mapping's specification with anything in it.
#include "core/mapping.h"

#include <cstdint>
#include <string_view>

#include "stores/neo4j/cypher.h"
#include "stores/neo4j/graph_plan.h"
#include "stores/redis/cache_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view spec(reinterpret_cast<const char*>(data), size);
  auto parsed = apex::ParseMapping(1, 1, "default", true, "park", spec);
  if (!parsed.ok()) return 0;
  const auto mapping = std::make_shared<const apex::TableMapping>(*std::move(parsed));
  apex::neo4j::MakePlan(mapping);
  apex::neo4j::SchemaOf(*mapping);
  if (!mapping->cache) return 0;
  const auto plan = apex::redis::CachePlan::Compile(mapping, "p:");
  if (plan.ok()) (void)plan->KeysOfTable();
  return 0;
}
