#include "annuli/checkpoint/model_file.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/error.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli {
namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kConfig = "config.json";
constexpr const char* kLineage = "lineage.json";

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The shards that an index lists. Each must be a plain name: an index may not
// reach outside its folder.
std::set<std::string> shard_names(const Json& index, const fs::path& path) {
  if (!index.contains("weight_map") || !index["weight_map"].is_object()) {
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

// A tied head saved under its own name, as Python's state_dict has it.
bool is_tied_head(const ModelFile& file, const TensorEntry& entry) {
  if (!file.config().tie_word_embeddings || entry.name != "lm_head.weight") {
    return false;
  }
  for (const TensorEntry& other : file.entries()) {
    if (other.name == "model.embed_tokens.weight") {
      return other.offset == entry.offset && other.shape == entry.shape;
    }
  }
  return false;
}

at::ScalarType dtype_to_load(const ModelFile& file,
                             const LoadOptions& options) {
  if (options.dtype) return *options.dtype;
  at::ScalarType dtype = at::kFloat;
  for (const TensorEntry& entry : file.entries()) {
    if (!at::isFloatingType(entry.dtype)) {
      user_error("reading {}: tensor '{}' is {}, expected a floating type",
                 file.path().string(), entry.name, dtype_name(entry.dtype));
    }
    if (entry.dtype == at::kDouble) dtype = at::kDouble;
  }
  return dtype;
}

at::Tensor load_tensor(const ModelFile& file, const std::string& name,
                       at::ScalarType dtype, const LoadOptions& options) {
  const MappedTensors& source = file.file_of(name);
  const bool as_is =
      source.entry(name).dtype == dtype && options.device.is_cpu();
  if (as_is) {
    return options.mapped ? source.tensor(name) : source.copy(name);
  }
  at::Tensor result =
      kernels::owned_empty(source.entry(name).shape, dtype, options.device);
  result.copy_(source.copy(name));
  return result;
}

}  // namespace

ModelFile::ModelFile(const fs::path& path) : path_(path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    open_folder();
  } else if (is_file(path)) {
    open_pt();
  } else {
    user_error(
        "opening the model {}: no such file or folder; expected a .pt "
        "file or a folder with {} and {}",
        path.string(), kConfig, kWeights);
  }
  try {
    config_ = model_config_from_json(config_json_);
  } catch (const UserError& error) {
    user_error("opening the model {}: {}", path.string(), error.what());
  }
}

void ModelFile::open_pt() {
  format_ = "pt";
  auto file = std::make_unique<PtFile>(path_);
  config_json_ = file->config();
  extra_ = file->extra();
  if (extra_.contains("lineage")) {
    lineage_ = lineage_from_json(extra_["lineage"], path_.string());
    extra_.erase("lineage");
  }
  files_.push_back(std::move(file));
}

void ModelFile::open_folder() {
  format_ = "folder";
  if (!is_file(path_ / kConfig)) {
    user_error("opening the model {}: no {} in the folder", path_.string(),
               kConfig);
  }
  config_json_ = read_json(path_ / kConfig);
  if (is_file(path_ / kLineage)) lineage_ = read_lineage(path_ / kLineage);
  if (is_file(path_ / kWeights)) {
    files_.push_back(std::make_unique<SafetensorsFile>(path_ / kWeights));
  } else if (is_file(path_ / kIndex)) {
    open_shards(path_ / kIndex);
  } else {
    user_error("opening the model {}: neither {} nor {} in the folder",
               path_.string(), kWeights, kIndex);
  }
}

void ModelFile::open_shards(const fs::path& index) {
  std::set<std::string> names;
  for (const std::string& shard : shard_names(read_json(index), index)) {
    files_.push_back(std::make_unique<SafetensorsFile>(path_ / shard));
    for (const TensorEntry& entry : files_.back()->entries()) {
      if (!names.insert(entry.name).second) {
        user_error("opening the model {}: tensor '{}' is in two shards",
                   path_.string(), entry.name);
      }
    }
  }
}

std::vector<TensorEntry> ModelFile::entries() const {
  std::vector<TensorEntry> entries;
  for (const auto& file : files_) {
    entries.insert(entries.end(), file->entries().begin(),
                   file->entries().end());
  }
  return entries;
}

const MappedTensors& ModelFile::file_of(const std::string& name) const {
  for (const auto& file : files_) {
    if (file->contains(name)) return *file;
  }
  user_error("reading {}: it has no tensor '{}'", path_.string(), name);
}

std::vector<std::string> ModelFile::faults() const {
  std::vector<std::string> faults;
  std::set<std::string> expected;
  for (const TensorSpec& spec : tensor_table(config_)) {
    expected.insert(spec.name);
    const auto has = [&](const auto& file) {
      return file->contains(spec.name);
    };
    const auto file = std::ranges::find_if(files_, has);
    if (file == files_.end()) {
      faults.push_back(fmt::format("tensor '{}' is missing, expected {}",
                                   spec.name, to_string(spec.shape())));
    } else if (const auto& shape = (*file)->entry(spec.name).shape;
               shape != spec.shape()) {
      faults.push_back(fmt::format("tensor '{}' is {}, expected {}", spec.name,
                                   to_string(shape), to_string(spec.shape())));
    }
  }
  for (const TensorEntry& entry : entries()) {
    if (!expected.contains(entry.name) && !is_tied_head(*this, entry)) {
      faults.push_back(
          fmt::format("tensor '{}' {} is not part of the model "
                      "that the config describes",
                      entry.name, to_string(entry.shape)));
    }
  }
  return faults;
}

Transformer load_model(const ModelFile& file, const LoadOptions& options) {
  const std::vector<std::string> faults = file.faults();
  if (!faults.empty()) {
    user_error("loading the model {}: {}{}", file.path().string(), faults[0],
               faults.size() > 1
                   ? fmt::format(" (and {} more faults)", faults.size() - 1)
                   : "");
  }
  const at::ScalarType dtype = dtype_to_load(file, options);
  Transformer model(file.config(), dtype, options.device);
  for (size_t row = 0; row < model.table().size(); ++row) {
    model.set_weight(
        row, load_tensor(file, model.table()[row].name, dtype, options));
  }
  return model;
}

Transformer load_model(const fs::path& path, const LoadOptions& options) {
  return load_model(ModelFile(path), options);
}

Json inspect_model(const fs::path& path) {
  const ModelFile file(path);
  Json tensors = Json::array();
  int64_t bytes = 0;
  for (const TensorEntry& entry : file.entries()) {
    tensors.push_back({{"name", entry.name},
                       {"dtype", dtype_name(entry.dtype)},
                       {"shape", entry.shape},
                       {"bytes", entry.bytes}});
    bytes += entry.bytes;
  }
  const ParameterCount count = count_parameters(file.config());
  Json result = {
      {"path", path.string()},
      {"format", file.format()},
      {"config", file.config_json()},
      {"parameters", {{"total", count.total}, {"active", count.active}}},
      {"bytes", bytes},
      {"tensors", tensors},
      {"faults", file.faults()},
      {"extra", file.extra()}};
  if (file.lineage()) result["lineage"] = to_json(*file.lineage());
  return result;
}

void save_pt(const Transformer& model, const fs::path& path,
             const Lineage& lineage, Json extra) {
  if (!lineage.empty()) extra["lineage"] = to_json(lineage);
  write_pt(path, named_weights(model), to_json(model.config()), extra);
}

void save_folder(const Transformer& model, const fs::path& folder,
                 const Lineage& lineage) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    user_error("making the folder {}: {}", folder.string(), error.message());
  }
  write_safetensors(folder / kWeights, named_weights(model));
  if (lineage.empty()) {
    fs::remove(folder / kLineage, error);
  } else {
    write_lineage(folder / kLineage, lineage);
  }
  Json config = to_json(model.config());
  config["dtype"] = model.dtype() == at::kDouble ? "float64" : "float32";
  write_json(folder / kConfig, config);
}

}  // namespace annuli
