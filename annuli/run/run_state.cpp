#include "annuli/run/run_state.h"

#include <ATen/ops/empty.h>

#include <map>
#include <set>
#include <utility>

#include "annuli/checkpoint/coded_tensors.h"
#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/config/field.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/weight_parts.h"
#include "annuli/parallel/solo.h"

namespace annuli::run {
namespace {

Json optimizer_json(const RunState& state) {
  Json rows = Json::array();
  for (const optim::TensorState& tensor : state.optimizer.states()) {
    rows.push_back(annuli::to_json(row_of(tensor)));
  }
  return rows;
}

Json bins_json(const train::LossBins& bins) {
  return {{"steps_of_bin", bins.steps_of_bin},
          {"means", bins.means},
          {"open_sum", bins.open_sum},
          {"open_steps", bins.open_steps}};
}

train::LossBins bins_from(const Json& json) {
  return {.steps_of_bin = json.at("steps_of_bin"),
          .means = json.at("means"),
          .open_sum = json.at("open_sum"),
          .open_steps = json.at("open_steps")};
}

Json loader_json(const data::LoaderState& loader) {
  Json json = {{"seed", loader.seed}, {"next_window", loader.next_window}};
  if (loader.epochs_from > 0) json["epochs_from"] = loader.epochs_from;
  return json;
}

data::LoaderState loader_from(const Json& json) {
  return {json.at("seed"), json.at("next_window"),
          json.value("epochs_from", uint64_t{0})};
}

Json progress_of(const RunState& state, const Plan& plan) {
  Json progress = {
      {"plan_hash", plan_hash(plan)},
      {"plan", hashed_json(plan)},
      {"phase", state.phase},
      {"step", state.step},
      {"phase_ended", state.phase_ended},
      {"config", to_json(state.model.config())},
      {"loader", loader_json(state.loader)},
      {"optimizer_type", std::string(word_of(state.optimizer.plan().type))},
      {"optimizer", optimizer_json(state)},
      {"recent_losses", state.recent_losses},
      {"rollbacks", state.rollbacks},
      {"after_rollback", state.after_rollback},
      {"lr_factor", state.lr_factor},
      {"lineage", to_json(state.lineage)},
  };
  progress.update(train::to_json(state.history));
  if (state.previous_norm) progress["previous_norm"] = *state.previous_norm;
  if (!state.frozen_hash.empty()) progress["frozen_hash"] = state.frozen_hash;
  if (!state.loss_bins.is_empty()) {
    progress["loss_bins"] = bins_json(state.loss_bins);
  }
  if (!state.early_ends.empty()) {
    progress["early_ends"] = to_json(state.early_ends);
  }
  if (state.recipe) progress["recipe"] = grow::to_json(*state.recipe);
  if (state.control) {
    progress["control"] = state.control->gradient_difference;
  }
  return progress;
}

std::vector<NamedTensor> optimizer_parts(const RunState& state) {
  std::vector<NamedTensor> tensors;
  const auto& states = state.optimizer.states();
  for (size_t row = 0; row < states.size(); ++row) {
    const std::string& name = state.model.table()[row].name;
    optim::visit_parts(
        states[row], [&](const char* part, const at::Tensor& tensor) {
          if (!tensor.defined()) return;
          tensors.push_back({fmt::format("{}.{}", part, name), tensor});
        });
  }
  return tensors;
}

// Selection biases may be of another type than all else.
at::ScalarType type_of(const std::vector<NamedTensor>& weights,
                       const TensorTable& table) {
  for (const NamedTensor& weight : weights) {
    const int64_t row = find_row(table, weight.name);
    ANNULI_CHECK(row >= 0, "a state with a tensor {}", weight.name);
    if (is_trained(table[row].part)) return weight.tensor.scalar_type();
  }
  ANNULI_CHECK(false, "a state without weights");
}

// What this process does not hold is not among the weights.
Transformer model_from(const Json& progress, std::vector<NamedTensor> weights,
                       const Plan& plan, at::Device device,
                       parallel::ProcessGroup& group) {
  const ModelConfig config = model_config_from_json(progress.at("config"));
  NumberTypes numbers = type_of(weights, tensor_table(config));
  numbers.coded = has_codes(weights);
  Transformer model(config, numbers, device);
  const bool in_parts = holds_part_of_weights(plan, group);
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (take_saved_weight(model, row, weights)) continue;
    ANNULI_CHECK(in_parts, "a state without {}", model.table()[row].name);
    model.set_weight(
        row,
        at::empty(
            model.table()[row].shape(),
            at::TensorOptions().dtype(model.weight_dtype(row)).device(device)));
  }
  if (in_parts) hold_in_parts(model, group);
  return model;
}

std::vector<optim::TensorState> states_from(const Json& rows,
                                            const TensorTable& table,
                                            std::vector<NamedTensor> parts,
                                            at::Device device) {
  std::map<std::string, at::Tensor> by_name;
  for (NamedTensor& tensor : parts) {
    by_name[tensor.name] = std::exchange(tensor.tensor, {}).to(device);
  }
  std::vector<optim::TensorState> states(table.size());
  for (size_t row = 0; row < table.size(); ++row) {
    optim::TensorState& state = states[row];
    set_row(state, optimizer_row_from_json(rows.at(row)));
    optim::visit_parts(state, [&](const char* part, at::Tensor& tensor) {
      const auto found =
          by_name.find(fmt::format("{}.{}", part, table[row].name));
      if (found != by_name.end()) tensor = std::move(found->second);
    });
  }
  return states;
}

// All, or those of the rows that this process holds.
WantedParts wanted_parts(const Plan& plan, parallel::ProcessGroup& group) {
  if (!holds_part(plan, group)) return {};
  return [&plan, &group](const Json& progress) -> WantedTensors {
    const TensorTable table =
        tensor_table(model_config_from_json(progress.at("config")));
    const WeightParts parts(table, group);
    std::set<std::string> own;
    std::set<std::string> held;
    for (size_t row = 0; row < table.size(); ++row) {
      if (parts.is_own(row)) own.insert(table[row].name);
      if (parts.stays(row)) held.insert(table[row].name);
    }
    WantedTensors wanted;
    // "<part>.<tensor>"
    wanted.optimizer = [own = std::move(own)](const std::string& name) {
      return own.contains(name.substr(name.find('.') + 1));
    };
    if (holds_part_of_weights(plan, group)) {
      wanted.weights = [held = std::move(held)](const std::string& name) {
        return held.contains(name);
      };
    }
    return wanted;
  };
}

// Those that this process has to save.
std::vector<NamedTensor> own_weights(const Transformer& model) {
  if (model.numbers().coded) return coded_tensors(model);
  std::vector<NamedTensor> weights = named_weights(model);
  if (model.parts() == nullptr) return weights;
  std::vector<NamedTensor> own;
  for (size_t row = 0; row < weights.size(); ++row) {
    if (model.parts()->is_own(row)) own.push_back(std::move(weights[row]));
  }
  return own;
}

}  // namespace

bool holds_part(const Plan& plan, const parallel::ProcessGroup& group) {
  return plan.parallel.shard != Sharding::kNone && group.size() > 1;
}

bool holds_part_of_weights(const Plan& plan,
                           const parallel::ProcessGroup& group) {
  return plan.parallel.shard == Sharding::kFull && group.size() > 1;
}

void save_run_state(const std::filesystem::path& folder, const RunState& state,
                    const Plan& plan, int64_t keep,
                    parallel::ProcessGroup& group) {
  const bool together = holds_part(plan, group);
  if (!together && !group.is_first()) return;
  save_training_state(folder,
                      {.progress = progress_of(state, plan),
                       .weights = own_weights(state.model),
                       .optimizer = optimizer_parts(state),
                       .weights_in_parts = state.model.parts() != nullptr},
                      keep, together ? group : parallel::solo());
}

void keep_own_part(Transformer& model, std::vector<optim::TensorState>& states,
                   const Plan& plan, parallel::ProcessGroup& group) {
  if (holds_part_of_weights(plan, group)) hold_in_parts(model, group);
  if (!holds_part(plan, group)) return;
  const RowOwners owners(model.table(), group.size());
  for (size_t row = 0; row < states.size(); ++row) {
    if (!owners.owns(group.rank(), row)) optim::release_parts(states[row]);
  }
}

std::optional<SavedRun> load_run_state(const std::filesystem::path& folder,
                                       const Plan& plan, at::Device device,
                                       parallel::ProcessGroup& group,
                                       int64_t skip) {
  std::optional<LoadedState> loaded =
      load_training_state(folder, skip, wanted_parts(plan, group));
  if (!loaded) return std::nullopt;
  const Json& progress = loaded->state.progress;
  Transformer model = model_from(progress, std::move(loaded->state.weights),
                                 plan, device, group);
  model.set_products(number_types(plan.precision).products);
  auto states = states_from(progress.at("optimizer"), model.table(),
                            std::move(loaded->state.optimizer), device);
  RunState state{
      .phase = progress.at("phase"),
      .step = progress.at("step"),
      .phase_ended = progress.at("phase_ended"),
      .model = std::move(model),
      .optimizer = train::Optimizer(plan.optimizer, std::move(states)),
      .loader = loader_from(progress.at("loader")),
      .history = train::mark_from_json(progress),
      .recipe = std::nullopt,
      .control = std::nullopt,
      .previous_norm = std::nullopt,
      .frozen_hash = "",
      .recent_losses = progress.at("recent_losses"),
      .loss_bins = {},
      .early_ends = {},
      .rollbacks = progress.at("rollbacks"),
      .after_rollback = progress.at("after_rollback"),
      .lr_factor = progress.at("lr_factor"),
      .lineage =
          lineage_from_json(progress.at("lineage"), loaded->folder.string()),
  };
  if (progress.contains("previous_norm")) {
    state.previous_norm = progress.at("previous_norm").get<double>();
  }
  state.frozen_hash = progress.value("frozen_hash", "");
  if (progress.contains("loss_bins")) {
    state.loss_bins = bins_from(progress.at("loss_bins"));
  }
  if (progress.contains("early_ends")) {
    state.early_ends = early_ends_from(progress.at("early_ends"));
  }
  if (progress.contains("recipe")) {
    state.recipe = grow::recipe_from_json(progress.at("recipe"));
  }
  if (progress.contains("control")) {
    state.control = verify::SymmetryControl{progress.at("control")};
  }
  return SavedRun{.state = std::move(state),
                  .folder = std::move(loaded->folder),
                  .plan = progress.at("plan"),
                  .damaged = std::move(loaded->damaged),
                  .skipped = std::move(loaded->skipped)};
}

}  // namespace annuli::run
