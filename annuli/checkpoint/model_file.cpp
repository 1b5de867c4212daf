#include "annuli/checkpoint/model_file.h"

#include <set>
#include <system_error>
#include <utility>

#include "annuli/checkpoint/beside_table.h"
#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/foreign_folder.h"
#include "annuli/checkpoint/gguf_weights.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/weight_files.h"
#include "annuli/config/class_defaults.h"
#include "annuli/config/family.h"
#include "annuli/config/model_path.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/notice.h"
#include "annuli/core/python_json.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/model/weight_parts.h"

namespace annuli {
namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kConfig = "config.json";
constexpr const char* kLineage = "lineage.json";

std::string weight_of(std::string_view name) {
  return fmt::format("{}.weight", name);
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
  const bool as_is =
      file.dtype_of(name) == dtype && kernels::is_host(options.device);
  if (as_is) return options.mapped ? file.tensor(name) : file.copy(name);
  const at::Tensor stored = file.tensor(name);
  at::Tensor result =
      kernels::owned_empty(stored.sizes(), dtype, options.device);
  result.copy_(stored);
  return result;
}

}  // namespace

ModelFile::ModelFile(const fs::path& path) : path_(find_model(path)) {
  std::error_code ignored;
  if (fs::is_directory(path_, ignored)) {
    open_folder();
  } else if (is_gguf_file(path_)) {
    open_gguf();
  } else {
    open_pt();
  }
  locate_tensors();
}

ModelFile::ModelFile(Json config_json, std::unique_ptr<MappedTensors> tensors)
    : path_(tensors->path()), format_("memory") {
  read_config(std::move(config_json));
  files_.push_back(std::move(tensors));
  locate_tensors();
}

void ModelFile::read_config(Json json) {
  config_json_ = std::move(json);
  try {
    config_ = model_config_from_json(config_json_);
  } catch (const UserError& error) {
    user_error("opening the model {}: {}", path_.string(), error.what());
  }
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
  names_ = StoredNames(entries(), table_, family_of(config_).names);
  if (!names_.note().empty()) {
    notice("{}: {}", path_.string(), names_.note());
  }
  stored_ = locate(config_, table_, [&](const std::string& name) {
    return entry_of_table(name);
  });
}

const TensorEntry* ModelFile::entry_of_table(const std::string& name) const {
  const std::string stored = names_.stored(name);
  if (!stored.empty()) return &holder_of(stored)->entry(stored);
  const TensorNames& names = family_of(config_).names;
  if (!config_.tie_word_embeddings || name != weight_of(names.embedding)) {
    return nullptr;
  }
  const std::string head = names_.stored(weight_of(names.head));
  if (head.empty()) return nullptr;
  notice("{}: of the tied pair only {} is stored, which is read for both",
         path_.string(), head);
  return &holder_of(head)->entry(head);
}

void ModelFile::open_pt() {
  refuse_foreign_file(path_);
  format_ = "pt";
  auto file = std::make_unique<PtFile>(path_);
  read_config(file->config());
  extra_ = file->extra();
  if (extra_.contains("lineage")) {
    lineage_ = lineage_from_json(extra_["lineage"], path_.string());
    extra_.erase("lineage");
  }
  files_.push_back(std::move(file));
}

void ModelFile::open_gguf() {
  format_ = "gguf";
  auto file = std::make_unique<GgufWeights>(path_);
  if (!file->note().empty()) notice("{}: {}", path_.string(), file->note());
  read_config(file->config_json());
  files_.push_back(std::move(file));
}

void ModelFile::open_folder() {
  format_ = "folder";
  refuse_broken_links(path_);
  if (!is_file(path_ / kConfig)) {
    const std::string what = what_it_is(path_);
    user_error("opening the model {}: no {} in the folder{}", path_.string(),
               kConfig, what.empty() ? "" : ": " + what);
  }
  read_config(read_python_json(path_ / kConfig));
  if (is_file(path_ / kLineage)) lineage_ = read_lineage(path_ / kLineage);
  files_ = open_weights(path_);
  if (holds_adapter(path_)) {
    notice("{} holds an adapter too, which is not applied", path_.string());
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

std::optional<std::string> ModelFile::fault_beside_table(
    const TensorEntry& entry) const {
  const std::string& name = names_.of_table(entry.name);
  if (is_derived(name)) return std::nullopt;
  const MappedTensors& file = *holder_of(entry.name);
  const TensorNames& names = family_of(config_).names;
  const TensorEntry* table = entry_of_table(weight_of(names.embedding));
  if (config_.tie_word_embeddings && name == weight_of(names.head) && table) {
    const at::Tensor embedding = holder_of(table->name)->tensor(table->name);
    const auto fault = head_fault(file.tensor(entry.name), embedding);
    if (fault) return fmt::format("tensor '{}' {}", entry.name, *fault);
    notice(
        "{}: {} is stored beside the embedding that it is tied to, and "
        "equal; it is passed over",
        path_.string(), entry.name);
    return std::nullopt;
  }
  if (is_bias_of_the_table(name) && is_all_zero(file.tensor(entry.name))) {
    notice("{}: biases of zeros that the config does not have are passed over",
           path_.string());
    return std::nullopt;
  }
  return fmt::format(
      "tensor '{}' {} is not part of the model that the config describes",
      entry.name, to_string(entry.shape));
}

// A bias of one of the table's matrices.
bool ModelFile::is_bias_of_the_table(const std::string& name) const {
  constexpr std::string_view kBias = ".bias";
  if (!name.ends_with(kBias)) return false;
  const std::string stem = name.substr(0, name.size() - kBias.size());
  return row_.contains(weight_of(stem)) ||
         stem == family_of(config_).names.head;
}

void ModelFile::drop_resident() const {
  for (const auto& file : files_) file->drop_resident();
}

void ModelFile::check_data() const {
  for (const auto& file : files_) file->check_data();
}

std::vector<std::string> ModelFile::faults() const {
  std::set<std::string> expected;
  for (const StoredPiece& piece : stored_.pieces) expected.insert(piece.name);
  std::vector<std::string> faults = stored_.faults;
  std::vector<TensorEntry> beside;
  for (const TensorEntry& entry : entries()) {
    if (!expected.contains(entry.name)) {
      beside.push_back(entry);
    } else if (!at::isFloatingType(entry.dtype)) {
      faults.push_back(
          fmt::format("tensor '{}' is {}, expected a floating type", entry.name,
                      dtype_name(entry.dtype)));
    }
  }
  for (const TensorEntry& entry : beside) {
    if (auto fault = fault_beside_table(entry)) {
      faults.push_back(*std::move(fault));
    }
  }
  if (!faults.empty()) faults.front() += left_to_the_class(config_json_);
  if (std::string why = unreadable_weights(beside); !why.empty()) {
    faults.insert(faults.begin(), std::move(why));
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

std::vector<std::string> value_faults(const ModelFile& file) {
  std::vector<std::string> faults;
  const std::vector<std::string> shapes = file.faults();
  if (!shapes.empty()) return faults;
  for (const TensorSpec& spec : tensor_table(file.config())) {
    if (auto fault = value_fault(spec.name, file.tensor(spec.name))) {
      faults.push_back(*std::move(fault));
    }
    file.drop_resident();
  }
  return faults;
}

void require_finite(const ModelFile& file, std::string_view doing) {
  const std::vector<std::string> faults = value_faults(file);
  if (faults.empty()) return;
  user_error(
      "{} {}: {}{}; the model was broken before: give a sound one, or mend "
      "that row (zeros, where it is padding)",
      doing, file.path().string(), faults[0],
      faults.size() > 1
          ? fmt::format(" (and {} more tensors)", faults.size() - 1)
          : "");
}

Transformer load_model(const ModelFile& file, const LoadOptions& options) {
  require_sound(file);
  const at::ScalarType dtype = dtype_to_load(file, options);
  NumberTypes numbers = dtype;
  numbers.coded = options.coded;
  Transformer model(file.config(), numbers, options.device);
  for (size_t row = 0; row < model.table().size(); ++row) {
    const std::string& name = model.table()[row].name;
    if (options.as_stored) {
      model.set_stored_weight(row, file.tensor(name).to(options.device));
    } else {
      model.set_weight(
          row, load_tensor(file, name, model.weight_dtype(row), options));
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
  std::vector<std::string> faults = file.faults();
  if (faults.empty()) faults = value_faults(file);
  const ParameterCount count = count_parameters(file.config());
  Json result = {
      {"path", file.path().string()},
      {"format", file.format()},
      {"config", file.config_json()},
      {"resolved_config", resolved_config(file.config_json())},
      {"parameters", {{"total", count.total}, {"active", count.active}}},
      {"bytes", total_bytes(file.entries())},
      {"tensors", to_json(file.entries())},
      {"faults", faults},
      {"extra", file.extra()}};
  if (file.lineage()) result["lineage"] = to_json(*file.lineage());
  return result;
}

void save_pt(const Transformer& model, const fs::path& path,
             const Lineage& lineage, Json extra) {
  if (!lineage.empty()) extra["lineage"] = to_json(lineage);
  const WeightParts* parts = model.parts();
  if (parts == nullptr && !model.numbers().coded) {
    return write_pt(path, named_weights(model), to_json(model.config()), extra);
  }
  // Codes are widened one by one; of parts each tensor comes to the first
  // process, which writes it.
  const auto read = [&](size_t row) {
    return parts == nullptr ? model.read_weight(row)
                            : parts->read_at(0, model, row);
  };
  TensorsToRead tensors{.entries = {}, .read = read};
  for (size_t row = 0; row < model.table().size(); ++row) {
    tensors.entries.push_back(
        entry_of({model.table()[row].name, model.weight(row)}));
  }
  if (parts == nullptr || parts->group().is_first()) {
    write_pt_of(path, tensors, to_json(model.config()), extra);
  } else {
    for (size_t row = 0; row < tensors.entries.size(); ++row) read(row);
  }
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
