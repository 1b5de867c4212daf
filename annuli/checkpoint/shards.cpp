#include "annuli/checkpoint/shards.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {

std::vector<Shard> plan_shards(const std::vector<TensorEntry>& entries,
                               int64_t max_bytes) {
  ANNULI_CHECK(max_bytes > 0, "shards of {} bytes", max_bytes);
  std::vector<Shard> shards;
  for (TensorEntry entry : entries) {
    const auto bytes = byte_size(entry.shape, entry.dtype);
    ANNULI_CHECK(bytes.has_value(), "{} is {}", entry.name,
                 to_string(entry.shape));
    entry.bytes = *bytes;
    if (shards.empty() || (shards.back().bytes > 0 &&
                           shards.back().bytes + entry.bytes > max_bytes)) {
      shards.emplace_back();
    }
    shards.back().bytes += entry.bytes;
    shards.back().entries.push_back(std::move(entry));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].file = shards.size() == 1
                         ? "model.safetensors"
                         : fmt::format("model-{:05}-of-{:05}.safetensors",
                                       i + 1, shards.size());
  }
  return shards;
}

Json shard_index(const std::vector<Shard>& shards) {
  Json map = Json::object();
  for (const Shard& shard : shards) {
    for (const TensorEntry& entry : shard.entries) map[entry.name] = shard.file;
  }
  return {{"metadata", {{"total_size", total_bytes(shards)}}},
          {"weight_map", map}};
}

int64_t total_bytes(const std::vector<Shard>& shards) {
  int64_t total = 0;
  for (const Shard& shard : shards) total += shard.bytes;
  return total;
}

int64_t parse_bytes(const std::string& text) {
  static const std::vector<std::pair<std::string, double>> kUnits = {
      {"", 1},          {"B", 1},         {"KB", 1e3},
      {"MB", 1e6},      {"GB", 1e9},      {"TB", 1e12},
      {"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}};
  double number = 0;
  const auto [end, failure] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) {
    return static_cast<char>(std::toupper(c));
  });
  const auto known =
      std::ranges::find(kUnits, unit, &std::pair<std::string, double>::first);
  const double bytes = known == kUnits.end() ? 0 : number * known->second;
  if (failure != std::errc() || !(bytes >= 1) || bytes > 1e18) {
    user_error("reading the size '{}': expected a number of bytes, as 5GB",
               text);
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace annuli
