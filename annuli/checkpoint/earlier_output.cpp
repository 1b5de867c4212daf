#include "annuli/checkpoint/earlier_output.h"

#include <system_error>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kCard = "README.md";
constexpr const char* kCardBegins = "# A grown model\n\nMade by [annuli]";

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error));
}

std::set<std::string> weights_in(const fs::path& folder) {
  if (!is_file(folder / kIndex)) return {"model.safetensors"};
  std::set<std::string> names = {kIndex};
  for (const auto& shard : read_json(folder / kIndex).at("weight_map")) {
    names.insert(shard.get<std::string>());
  }
  return names;
}

}  // namespace

std::set<std::string> earlier_output(const fs::path& folder) try {
  const ModelFile model(folder);
  if (!model.lineage() || model.lineage()->empty() || !model.faults().empty() ||
      model.lineage()->back().child != content_hash(model)) {
    return {};
  }
  std::set<std::string> names = weights_in(folder);
  names.insert({"config.json", "lineage.json"});
  if (OptimizerFile::open(folder)) {
    names.insert({kOptimizerTensors, kOptimizerRows});
  }
  if (is_file(folder / kCard) &&
      read_file(folder / kCard).starts_with(kCardBegins)) {
    names.insert(kCard);
  }
  return names;
} catch (const UserError&) {
  return {};
} catch (const Json::exception&) {
  return {};
}

}  // namespace annuli
