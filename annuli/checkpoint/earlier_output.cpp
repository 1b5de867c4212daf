#include "annuli/checkpoint/earlier_output.h"

#include <system_error>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/checkpoint/weight_files.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr const char* kCard = "README.md";
constexpr const char* kCardBegins = "# A grown model\n\nMade by [annuli]";

// Not a link: what a link leads to is somebody else's.
bool is_own_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error));
}

std::set<std::string> weights_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& file : open_weights(folder)) {
    names.insert(file->path().filename().string());
  }
  if (is_own_file(folder / kWeightIndex)) names.insert(kWeightIndex);
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
  if (is_own_file(folder / kCard) &&
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
