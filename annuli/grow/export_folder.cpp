#include "annuli/grow/export_folder.h"

#include <numeric>
#include <utility>

#include "annuli/checkpoint/coded_tensors.h"
#include "annuli/checkpoint/companions.h"
#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/pt_file.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/config/grown_config.h"
#include "annuli/core/error.h"
#include "annuli/core/tokenizer_place.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/stream.h"
#include "annuli/grow/stream_state.h"
#include "annuli/model/stored_type.h"

namespace annuli::grow {
namespace {

constexpr int64_t kSmallFiles = int64_t{1} << 20;

// Every tensor is the parent's own.
Recipe identity(const ModelConfig& config) {
  Recipe recipe;
  recipe.op = "export";
  recipe.parent = config;
  recipe.child = config;
  for (const TensorSpec& spec : tensor_table(config)) {
    TensorRecipe tensor;
    tensor.child = spec.name;
    tensor.parent = spec.name;
    tensor.settings_from = spec.name;
    tensor.shape = spec.shape();
    for (const int64_t size : tensor.shape) {
      tensor.dimensions.push_back({{{0, size}}, 1});
    }
    recipe.tensors.push_back(std::move(tensor));
  }
  return recipe;
}

// Weights in another type are other weights.
Lineage exported_lineage(const Lineage& lineage, const std::string& from,
                         const std::string& to, at::ScalarType dtype) {
  Lineage exported = lineage;
  if (!exported.empty() && exported.back().child != from) {
    append(exported,
           {.op = "edit", .parent = exported.back().child, .child = from});
  }
  if (from != to) {
    append(exported, {.op = "export",
                      .arguments = {{"dtype", dtype_name(dtype)}},
                      .parent = from,
                      .child = to,
                      .versions = program_versions()});
  }
  return exported;
}

Json config_json(const Json& config, at::ScalarType dtype) {
  const ModelConfig model = model_config_from_json(config);
  std::vector<int64_t> layers(model.num_hidden_layers);
  std::iota(layers.begin(), layers.end(), 0);
  return grown_config_json(config, model, layers, torch_dtype(dtype));
}

std::vector<NamedTensor> tensors_of(const ExportOrder& order) {
  std::vector<NamedTensor> tensors;
  for (const TensorSpec& spec : tensor_table(order.model.config())) {
    const at::Tensor tensor = order.model.tensor(spec.name);
    const at::ScalarType type =
        stored_type(spec, order.dtype.value_or(tensor.scalar_type()));
    tensors.push_back({spec.name, tensor.to(type).contiguous()});
  }
  return tensors;
}

// Which tokenizer the ids belong to, so that other verbs find it.
void add_tokenizer(const ModelFile& model, Json& extra) {
  if (model.extra().contains("tokenizer")) {
    extra["tokenizer"] = model.extra()["tokenizer"];
  } else if (model.format() == "gguf" || tokenizer_in(model.path())) {
    extra["tokenizer"]["name"] = fs::absolute(model.path()).string();
  }
}

// Of the weights of a state, selection biases left aside.
at::ScalarType type_of(const std::vector<NamedTensor>& weights,
                       const TensorTable& table) {
  for (const NamedTensor& weight : weights) {
    const int64_t row = find_row(table, weight.name);
    if (row >= 0 && is_trained(table[row].part)) {
      return weight.tensor.scalar_type();
    }
  }
  user_error("exporting a training state: found no weights in it");
}

OptimizerRows rows_of(const Json& saved, const TensorTable& table) {
  OptimizerRows rows;
  for (size_t row = 0; row < table.size(); ++row) {
    rows[table[row].name] = optimizer_row_from_json(saved.at(row));
  }
  return rows;
}

// A state in the middle of a phase: its lineage ends before the phase's steps.
Lineage lineage_of(const Json& progress, const std::string& hash,
                   const fs::path& where) {
  Lineage lineage = lineage_from_json(progress.at("lineage"), where.string());
  if (!lineage.empty() && lineage.back().child != hash) {
    append(lineage, {.op = "train",
                     .arguments = {{"max_steps", progress.at("step")}},
                     .parent = lineage.back().child,
                     .child = hash,
                     .versions = program_versions()});
  }
  return lineage;
}

void write_card(const fs::path& folder, const CardFacts& facts) {
  write_file_atomically(folder / "README.md", model_card(facts));
}

}  // namespace

void export_folder(const ExportOrder& order, OutputFolder& out) {
  const Recipe recipe = identity(order.model.config());
  const StreamOrder weights{.recipe = recipe,
                            .parents = {&order.model},
                            .dtype = order.dtype,
                            .max_shard_bytes = order.max_shard_bytes};
  const StreamPlan plan = plan_stream(weights);
  const std::vector<Companion> files = companions(order.model);
  const bool is_folder = order.model.format() == "folder";
  const auto state =
      is_folder ? OptimizerFile::open(order.model.path()) : nullptr;
  out.require_space(total_bytes(plan.shards) + size_of(files) + kSmallFiles);
  const Streamed hashes = stream(weights, plan, out.folder());
  if (state) stream_state(recipe, *state, {}, out.folder());
  copy_companions(files, out.folder());
  Lineage lineage;
  if (order.model.lineage()) {
    lineage = exported_lineage(*order.model.lineage(), hashes.parents.front(),
                               hashes.child, plan.dtype);
    write_lineage(out.folder() / "lineage.json", lineage);
  }
  const Json config = config_json(order.model.config_json(), plan.dtype);
  write_json(out.folder() / "config.json", config);
  write_card(out.folder(), {.lineage = lineage,
                            .shapes = {{"this model", order.model.config()}},
                            .config = config,
                            .origin = origin_of({&order.model}),
                            .training = order.training});
  out.commit();
}

void export_pt(const ExportOrder& order, const fs::path& path) {
  const std::vector<std::string> faults = order.model.faults();
  if (!faults.empty()) {
    user_error("exporting {}: {}", order.model.path().string(), faults[0]);
  }
  const std::vector<NamedTensor> tensors = tensors_of(order);
  Json extra = Json::object();
  if (order.model.lineage()) {
    extra["lineage"] = to_json(exported_lineage(
        *order.model.lineage(), content_hash(order.model),
        content_hash(tensors), tensors.front().tensor.scalar_type()));
  }
  add_tokenizer(order.tokenizer_of ? *order.tokenizer_of : order.model, extra);
  write_pt(path, tensors, order.model.config_json(), extra);
}

void export_training_state(const fs::path& folder, OutputFolder& out) {
  std::optional<LoadedState> loaded = load_training_state(folder);
  if (!loaded) {
    user_error("exporting {}: it holds no training state", folder.string());
  }
  TrainingState& state = loaded->state;
  state.weights = widened_codes(std::move(state.weights));
  try {
    const Json& progress = state.progress;
    const Json& config = progress.at("config");
    const TensorTable table = tensor_table(model_config_from_json(config));
    write_safetensors(out.folder() / "model.safetensors", state.weights);
    write_safetensors(out.folder() / kOptimizerTensors, state.optimizer);
    write_optimizer_rows(out.folder(), rows_of(progress.at("optimizer"), table),
                         progress.at("optimizer_type"));
    const Lineage lineage =
        lineage_of(progress, content_hash(state.weights), folder);
    write_lineage(out.folder() / "lineage.json", lineage);
    const Json written = config_json(config, type_of(state.weights, table));
    write_json(out.folder() / "config.json", written);
    write_card(out.folder(),
               {.lineage = lineage,
                .shapes = {{"this model", model_config_from_json(config)}},
                .config = written,
                .origin = {},
                .training = {}});
  } catch (const Json::exception& error) {
    user_error("exporting {}: its progress is not a run's: {}", folder.string(),
               reason_of(error));
  }
  out.commit();
}

}  // namespace annuli::grow
