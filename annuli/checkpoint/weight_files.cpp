#include "annuli/checkpoint/weight_files.h"

#include <fmt/core.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include "annuli/checkpoint/foreign_folder.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/hub_cache.h"
#include "annuli/core/json.h"
#include "annuli/core/notice.h"

namespace annuli {
namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kPickled = "pytorch_model.bin";
constexpr const char* kPickledIndex = "pytorch_model.bin.index.json";

// "; fetch ..." for a folder of the hub's cache.
std::string remedy_for(const fs::path& folder) {
  const std::string id = hub_id_of(folder);
  return id.empty() ? "; fetch or copy it again"
                    : fmt::format("; fetch it again with `hf download {}`", id);
}

std::unique_ptr<MappedTensors> open_file(const fs::path& path) {
  if (path.extension() == ".safetensors") {
    return std::make_unique<SafetensorsFile>(path);
  }
  return std::make_unique<StateDictFile>(path);
}

// The shards that an index lists. Each must be a plain name: an index may not
// reach outside its folder.
std::set<std::string> shard_names(const Json& index, const fs::path& path) {
  if (!index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object()) {
    user_error("reading {}: no object 'weight_map'", path.string());
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || fs::path(shard.get<std::string>()).filename() !=
                                  shard.get<std::string>()) {
      user_error("reading {}: tensor '{}' is in {}, expected a file name",
                 path.string(), tensor, shard.dump());
    }
    shards.insert(shard.get<std::string>());
  }
  return shards;
}

using Holders = std::map<std::string, std::string>;  // tensor -> shard

WeightFiles open_shards(const fs::path& folder,
                        const std::set<std::string>& shards, Holders& found) {
  WeightFiles files;
  for (const std::string& shard : shards) {
    files.push_back(open_file(folder / shard));
    for (const TensorEntry& entry : files.back()->entries()) {
      if (!found.emplace(entry.name, shard).second) {
        user_error("opening the model {}: tensor '{}' is in two shards",
                   folder.string(), entry.name);
      }
    }
  }
  return files;
}

WeightFiles open_indexed(const fs::path& folder, const char* index) {
  const Json json = read_json(folder / index);
  const std::set<std::string> shards = shard_names(json, folder / index);
  for (const std::string& shard : shards) {
    if (is_file(folder / shard)) continue;
    user_error(
        "opening the model {}: the shard '{}' that {} names is missing{}",
        folder.string(), shard, index, remedy_for(folder));
  }
  Holders found;
  WeightFiles files = open_shards(folder, shards, found);
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    const auto held = found.find(tensor);
    if (held == found.end() || held->second != shard.get<std::string>()) {
      user_error(
          "opening the model {}: {} says that tensor '{}' is in '{}', which "
          "does not hold it",
          folder.string(), index, tensor, shard.get<std::string>());
    }
  }
  return files;
}

// The n of "model-0000k-of-0000n.safetensors".
std::optional<int> shards_in_all(std::string_view name) {
  constexpr std::string_view kBegin = "model-00001-of-";
  constexpr std::string_view kEnd = ".safetensors";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return std::nullopt;
  name.remove_prefix(kBegin.size());
  name.remove_suffix(kEnd.size());
  int count = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), count);
  const bool whole = error == std::errc() && end == name.data() + name.size();
  return whole && count > 0 ? std::optional(count) : std::nullopt;
}

// Shards whose index was lost. None, if there are none of them.
std::set<std::string> shards_by_name(const fs::path& folder) {
  std::optional<int> count;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (const auto n = shards_in_all(item.path().filename().string())) {
      if (count && *count != *n) return {};
      count = n;
    }
  }
  std::set<std::string> shards;
  for (int k = 1; k <= count.value_or(0); ++k) {
    shards.insert(fmt::format("model-{:05}-of-{:05}.safetensors", k, *count));
    const std::string& last = *shards.rbegin();
    if (is_file(folder / last)) continue;
    user_error("opening the model {}: neither {} nor the shard '{}' is there{}",
               folder.string(), kWeightIndex, last, remedy_for(folder));
  }
  return shards;
}

}  // namespace

void refuse_broken_links(const fs::path& folder) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (!item.is_symlink(error) || fs::exists(item.path(), error)) continue;
    user_error(
        "opening the model {}: '{}' is a link to {}, which is not there: the "
        "model is not whole{}",
        folder.string(), item.path().filename().string(),
        fs::read_symlink(item.path(), error).string(), remedy_for(folder));
  }
}

WeightFiles open_weights(const fs::path& folder) {
  WeightFiles files;
  if (is_file(folder / kWeights)) {
    files.push_back(open_file(folder / kWeights));
    return files;
  }
  if (is_file(folder / kWeightIndex)) return open_indexed(folder, kWeightIndex);
  if (is_file(folder / kPickled)) {
    files.push_back(open_file(folder / kPickled));
    return files;
  }
  if (is_file(folder / kPickledIndex)) {
    return open_indexed(folder, kPickledIndex);
  }
  if (const auto shards = shards_by_name(folder); !shards.empty()) {
    notice("{} has no {}; its {} shards are read by their names",
           folder.string(), kWeightIndex, shards.size());
    Holders found;
    return open_shards(folder, shards, found);
  }
  const std::string what = what_it_is(folder);
  user_error("opening the model {}: neither {} nor {} in the folder{}",
             folder.string(), kWeights, kWeightIndex,
             what.empty() ? "" : ": " + what);
}

}  // namespace annuli
