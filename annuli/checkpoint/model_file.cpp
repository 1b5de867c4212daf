#include "annuli/checkpoint/model_file.h"

#include <ATen/ops/equal.h>

#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/config/family.h"
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

at::ScalarType dtype_to_load(const ModelFile& file,
                             const LoadOptions& options) {
  if (options.dtype) return *options.dtype;
  at::ScalarType dtype = at::kFloat;
  for (const TensorEntry& entry : file.entries()) {
    if (entry.dtype == at::kDouble) dtype = at::kDouble;
  }
  return dtype;
}

// The files' own pages where that is wanted and possible, else a copy.
at::Tensor load_tensor(const ModelFile& file, const std::string& name,
                       at::ScalarType dtype, const LoadOptions& options) {
  const bool as_is = file.dtype_of(name) == dtype && options.device.is_cpu();
  if (as_is) return options.mapped ? file.tensor(name) : file.copy(name);
  const at::Tensor stored = file.tensor(name);
  at::Tensor result =
      kernels::owned_empty(stored.sizes(), dtype, options.device);
  result.copy_(stored);
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
  locate_tensors();
}

void ModelFile::locate_tensors() {
  for (size_t i = 0; i < files_.size(); ++i) {
    for (const TensorEntry& entry : files_[i]->entries()) {
      holder_.emplace(entry.name, i);
    }
  }
  table_ = tensor_table(config_);
  for (size_t row = 0; row < table_.size(); ++row) {
    row_.emplace(table_[row].name, row);
  }
  const auto find = [&](const std::string& name) -> const TensorEntry* {
    const MappedTensors* file = holder_of(name);
    return file == nullptr ? nullptr : &file->entry(name);
  };
  stored_ = locate(config_, table_, find);
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
  const Json json = read_json(index);
  std::map<std::string, std::string> found;  // tensor -> shard
  for (const std::string& shard : shard_names(json, index)) {
    if (!is_file(path_ / shard)) {
      user_error(
          "opening the model {}: the shard '{}' that {} names is missing",
          path_.string(), shard, kIndex);
    }
    files_.push_back(std::make_unique<SafetensorsFile>(path_ / shard));
    for (const TensorEntry& entry : files_.back()->entries()) {
      if (!found.emplace(entry.name, shard).second) {
        user_error("opening the model {}: tensor '{}' is in two shards",
                   path_.string(), entry.name);
      }
    }
  }
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    const auto held = found.find(tensor);
    if (held == found.end() || held->second != shard.get<std::string>()) {
      user_error(
          "opening the model {}: {} says that tensor '{}' is in '{}', which "
          "does not hold it",
          path_.string(), kIndex, tensor, shard.get<std::string>());
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

const MappedTensors* ModelFile::holder_of(const std::string& stored) const {
  const auto found = holder_.find(stored);
  return found == holder_.end() ? nullptr : files_[found->second].get();
}

const StoredPiece& ModelFile::piece_of(const std::string& name) const {
  const auto row = row_.find(name);
  if (row == row_.end() || stored_.pieces[row->second].name.empty()) {
    user_error("reading {}: it has no tensor '{}'", path_.string(), name);
  }
  return stored_.pieces[row->second];
}

at::Tensor ModelFile::tensor(const std::string& name) const {
  const StoredPiece& piece = piece_of(name);
  return piece.of(holder_of(piece.name)->tensor(piece.name));
}

at::ScalarType ModelFile::dtype_of(const std::string& name) const {
  const StoredPiece& piece = piece_of(name);
  return holder_of(piece.name)->entry(piece.name).dtype;
}

at::Tensor ModelFile::copy(const std::string& name) const {
  const StoredPiece& piece = piece_of(name);
  if (piece.expert < 0) return holder_of(piece.name)->copy(piece.name);
  return kernels::owned_copy(tensor(name));
}

bool ModelFile::is_redundant(const TensorEntry& entry) const {
  if (entry.name.ends_with(".rotary_emb.inv_freq")) return true;
  const TensorNames& names = family_of(config_).names;
  const std::string table = fmt::format("{}.weight", names.embedding);
  const MappedTensors* file = holder_of(table);
  if (!config_.tie_word_embeddings || file == nullptr ||
      entry.name != fmt::format("{}.weight", names.head)) {
    return false;
  }
  const at::Tensor head = holder_of(entry.name)->tensor(entry.name);
  const at::Tensor embedding = file->tensor(table);
  return head.scalar_type() == embedding.scalar_type() &&
         at::equal(head, embedding);
}

void ModelFile::drop_resident() const {
  for (const auto& file : files_) file->drop_resident();
}

void ModelFile::check_data() const {
  for (const auto& file : files_) file->check_data();
}

std::vector<std::string> ModelFile::faults() const {
  std::vector<std::string> faults = stored_.faults;
  std::set<std::string> expected;
  for (const StoredPiece& piece : stored_.pieces) expected.insert(piece.name);
  for (const TensorEntry& entry : entries()) {
    const bool known = expected.contains(entry.name);
    if (known && !at::isFloatingType(entry.dtype)) {
      faults.push_back(
          fmt::format("tensor '{}' is {}, expected a floating type", entry.name,
                      dtype_name(entry.dtype)));
    }
    if (!known && !is_redundant(entry)) {
      faults.push_back(
          fmt::format("tensor '{}' {} is not part of the model "
                      "that the config describes",
                      entry.name, to_string(entry.shape)));
    }
  }
  return faults;
}

void require_sound(const ModelFile& file, std::string_view doing) {
  const std::vector<std::string> faults = file.faults();
  if (faults.empty()) return;
  user_error("{} {}: {}{}", doing, file.path().string(), faults[0],
             faults.size() > 1
                 ? fmt::format(" (and {} more faults)", faults.size() - 1)
                 : "");
}

Transformer load_model(const ModelFile& file, const LoadOptions& options) {
  require_sound(file);
  const at::ScalarType dtype = dtype_to_load(file, options);
  Transformer model(file.config(), dtype, options.device);
  for (size_t row = 0; row < model.table().size(); ++row) {
    const std::string& name = model.table()[row].name;
    if (options.as_stored) {
      model.set_stored_weight(row, file.tensor(name).to(options.device));
    } else {
      model.set_weight(row, load_tensor(file, name, dtype, options));
    }
  }
  return model;
}

Transformer load_model(const fs::path& path, const LoadOptions& options) {
  return load_model(ModelFile(path), options);
}

Json inspect_model(const fs::path& path) {
  const ModelFile file(path);
  file.check_data();
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
  const char* dtype = model.weight_dtype() == at::kDouble     ? "float64"
                      : model.weight_dtype() == at::kBFloat16 ? "bfloat16"
                                                              : "float32";
  config["dtype"] = dtype;        // transformers 5
  config["torch_dtype"] = dtype;  // transformers 4
  write_json(folder / kConfig, config);
}

}  // namespace annuli
