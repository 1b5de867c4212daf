#include "annuli/python/memory_growth.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <set>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/lineage.h"
#include "annuli/config/class_notice.h"
#include "annuli/config/constant_gates.h"
#include "annuli/config/grown_config.h"
#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/grow_folder.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/replay.h"
#include "annuli/grow/router_centroids.h"
#include "annuli/grow/router_mean.h"
#include "annuli/python/growth_words.h"
#include "annuli/python/tensor_words.h"
#include "annuli/verify/probe_share.h"
#include "annuli/verify/random_probe.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/symmetry_breaking.h"
#include "annuli/verify/verify_folders.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::python {
namespace {

// Of a window whose record is kept until the child is there: every layer's
// activations are in it.
constexpr int64_t kKeptTokens = 64;

Transformer as_stored(const ModelFile& file) {
  return load_model(file, {.dtype = at::kFloat, .as_stored = true});
}

// As many and as long windows as decide.
void shorten(verify::Probe& probe, const grow::Recipe& recipe) {
  const int64_t length = std::min(kKeptTokens, probe.tokens[0].size(1));
  const size_t count =
      verify::windows_needed(recipe, length, probe.tokens.size());
  for (auto* windows : {&probe.tokens, &probe.targets}) {
    windows->resize(count);
    for (at::Tensor& window : *windows) {
      window = window.narrow(1, 0, length).contiguous();
    }
  }
}

// Rows of the recipe, into any memory.
void write_rows(const grow::RowMaker& maker, at::Tensor target) {
  const bool direct = target.is_contiguous();
  at::Tensor made = direct ? target : at::empty(target.sizes(), target.dtype());
  maker.make(0, maker.rows(), made.data_ptr());
  if (!direct) target.copy_(made);
}

}  // namespace

MemoryGrowth::MemoryGrowth(const Json& order)
    : growth_(growth_of(order)),
      dtype_(grow::dtype_from_flag(order.at("dtype").get<std::string>())),
      prove_(order.at("prove")) {
  for (const Json& words : order.at("parents")) {
    parents_.push_back(open_parent(words));
  }
  parent_state_ = read_states(order.at("state"));
  recipe_ =
      grow::make_operator(growth_)->recipe(first().config(), order.at("seed"));
  check_gates(order.at("allow"));
  plan_types();
  find_last_uses();
  require_class();
}

// Nothing else can hold the child here.
void MemoryGrowth::require_class() const {
  const std::string text = class_notice(first().config(), growth_);
  if (text.empty()) return;
  user_error("growing {}: {}, expected a growth whose child has one", kName,
             text.substr(0, text.find(';')));
}

MemoryGrowth::Parent MemoryGrowth::open_parent(const Json& words) {
  auto held =
      std::make_unique<HeldTensors>(kName, tensors_from(words.at("tensors")));
  HeldTensors* borrowed = held.get();
  return {std::make_unique<ModelFile>(words.at("config"), std::move(held)),
          borrowed};
}

MemoryGrowth::States MemoryGrowth::read_states(const Json& words) {
  States states;
  for (const auto& [part, list] : words.items()) {
    for (const NamedTensor& named : tensors_from(list)) {
      states[part].emplace(named.name, named.tensor);
    }
  }
  return states;
}

std::vector<const ModelFile*> MemoryGrowth::parents() const {
  std::vector<const ModelFile*> files;
  for (const Parent& parent : parents_) files.push_back(parent.file.get());
  return files;
}

// As `annuli grow` does.
void MemoryGrowth::check_gates(const std::vector<std::string>& allow) const {
  if (has_constant_gates(recipe_.parent) ||
      !has_constant_gates(recipe_.child)) {
    return;
  }
  if (std::ranges::count(allow, "router_health") > 0 || !prove_) {
    return warn("growing {}: 1 expert a token: {}", kName, kConstantGates);
  }
  user_error(
      "growing {}: found 1 expert a token: {}; expected {}, or allow "
      "'router_health' to make it all the same",
      kName, kConstantGates, kInsteadOfConstantGates);
}

grow::StreamOrder MemoryGrowth::weights() const {
  return {.recipe = recipe_,
          .parents = parents(),
          .router_mean = router_mean_,
          .dtype = dtype_};
}

void MemoryGrowth::plan_types() {
  const grow::StreamPlan plan = grow::plan_stream(weights());
  for (const Shard& shard : plan.shards) {
    for (const TensorEntry& entry : shard.entries) {
      dtypes_.push_back(entry.dtype);
    }
  }
  note_ = plan.note;
  torch_dtype_ = grow::torch_dtype(plan.dtype);
}

void MemoryGrowth::find_last_uses() {
  std::map<std::pair<size_t, std::string>, size_t> last;
  for (size_t i = 0; i < parents_.size(); ++i) {
    for (const TensorEntry& entry : parents_[i].file->entries()) {
      last[{i, entry.name}] = 0;
    }
  }
  for (size_t row = 0; row < recipe_.tensors.size(); ++row) {
    const grow::TensorRecipe& line = recipe_.tensors[row];
    if (line.source != grow::Source::kParent) continue;
    for (const int64_t model : line.models) {
      const auto i = static_cast<size_t>(model);
      last[{i, parents_.at(i).file->piece_of(line.parent).name}] = row;
    }
  }
  for (const auto& [tensor, row] : last) last_uses_[row].push_back(tensor);
}

Json MemoryGrowth::child_config() const {
  return grown_config_json(first().config_json(), recipe_.child,
                           recipe_.layer_map, torch_dtype_);
}

Json MemoryGrowth::plan() const {
  Json rows = Json::array();
  for (size_t row = 0; row < recipe_.tensors.size(); ++row) {
    const grow::TensorRecipe& line = recipe_.tensors[row];
    const auto stored = [&](const std::string& name) {
      return name.empty() ? name : first().piece_of(name).name;
    };
    const bool has_parent = line.source == grow::Source::kParent;
    rows.push_back({{"name", line.child},
                    {"dtype", dtype_name(dtypes_[row])},
                    {"parent", has_parent ? stored(line.parent) : ""},
                    {"settings_from", stored(line.settings_from)},
                    {"carries", grow::carries_state(line, {growth_.optimizer,
                                                           growth_.dynamics})},
                    {"lr_multiplier", line.lr_multiplier},
                    {"eps_multiplier", line.eps_multiplier},
                    {"weight_decay_multiplier", line.weight_decay_multiplier},
                    {"row_copies", line.row_copies},
                    {"column_copies", line.column_copies}});
  }
  return {{"config", child_config()},
          {"rows", rows},
          {"note", note_},
          {"exact", recipe_.exact},
          {"arguments", recipe_.arguments}};
}

Json MemoryGrowth::lay_out(const Json& tensors) {
  const ModelFile child(child_config(), std::make_unique<HeldTensors>(
                                            kName, shapes_from(tensors)));
  require_sound(child, "laying out the child");
  Json rows = Json::array();
  std::map<std::string, at::ScalarType> dtypes;
  for (size_t row = 0; row < recipe_.tensors.size(); ++row) {
    const StoredPiece& piece = child.piece_of(recipe_.tensors[row].child);
    const at::ScalarType dtype = dtypes_[row];
    const auto [found, is_new] = dtypes.emplace(piece.name, dtype);
    if (!is_new) found->second = c10::promoteTypes(found->second, dtype);
    rows.push_back({{"tensor", piece.name}, {"whole", piece.expert < 0}});
  }
  Json types = Json::object();
  for (const auto& [name, dtype] : dtypes) types[name] = dtype_name(dtype);
  return {{"dtypes", types}, {"rows", rows}};
}

void MemoryGrowth::place(const Json& order) {
  child_ = std::make_unique<ModelFile>(
      child_config(),
      std::make_unique<HeldTensors>(kName, tensors_from(order.at("tensors"))));
  child_state_ = read_states(order.at("state"));
}

verify::Probe MemoryGrowth::probe_of(const Json& words) const {
  if (!words.is_null()) {
    return verify::probe_of(tensor_from(words).contiguous());
  }
  return verify::random_probe(
      {.router_tokens = std::max(verify::kRouterTokens,
                                 verify::router_tokens_needed(recipe_.child)),
       .vocab_size = recipe_.parent.vocab_size});
}

void MemoryGrowth::look(const Json& order) {
  consume_ = order.at("consume");
  for (const Parent& parent : parents_) {
    if (!prove_) require_finite(*parent.file, "growing");
    hashes_.push_back(content_hash(*parent.file));
  }
  if (!prove_ && !recipe_.needs_router_mean()) return;
  probe_ = probe_of(order.at("probe"));
  const grow::CentroidOrder centroids{recipe_.router_centroids(), recipe_.seed};
  if (recipe_.needs_router_mean()) {
    router_mean_ =
        centroids.count > 0
            ? grow::router_centroids(first(), probe_.router_tokens, centroids)
            : grow::router_directions(first(), probe_.router_tokens);
  }
  if (!prove_ || !consume_) return;
  shorten(probe_, recipe_);
  record_ = verify::ParentRecord::take(as_stored(first()), probe_,
                                       /*with_double_logits=*/false, centroids);
}

void MemoryGrowth::write_state(const grow::TensorRecipe& line) {
  const StoredPiece& from = first().piece_of(line.parent);
  const StoredPiece& to = child_->piece_of(line.child);
  optim::TensorState factors;
  for (auto& [part, tensors] : child_state_) {
    const auto target = tensors.find(to.name);
    if (target == tensors.end()) continue;
    const at::Tensor& read = parent_state_.at(part).at(from.name);
    if (part == "m" || part == "v") {
      const grow::RowMaker maker(grow::moment_recipe(line, part == "m" ? 1 : 2),
                                 from.of(read), 0,
                                 target->second.scalar_type());
      write_rows(maker, to.of(target->second));
    } else {
      (part == "v_rows" ? factors.v_rows : factors.v_columns) = read;
    }
  }
  if (!factors.v_rows.defined()) return;
  factors = grow::carried_state(line, factors);
  child_state_.at("v_rows").at(to.name).copy_(factors.v_rows);
  child_state_.at("v_columns").at(to.name).copy_(factors.v_columns);
}

Json MemoryGrowth::make(size_t row) {
  const grow::TensorRecipe& line = recipe_.tensors.at(row);
  std::vector<at::Tensor> read;
  if (line.source == grow::Source::kParent) {
    for (const int64_t model : line.models) {
      read.push_back(
          parents_.at(static_cast<size_t>(model)).file->tensor(line.parent));
    }
  }
  at::Tensor mean;
  if (line.source == grow::Source::kRandomRouter && !router_mean_.empty() &&
      line.layer >= 0) {
    mean = router_mean_.at(static_cast<size_t>(line.layer));
  }
  at::Tensor target = child_->tensor(line.child);
  write_rows(
      grow::RowMaker(line, read, recipe_.seed, target.scalar_type(), mean),
      target);
  if (grow::carries_state(line, {growth_.optimizer, growth_.dynamics})) {
    write_state(line);
  }
  Json done = Json::array();
  for (const auto& [model, name] : last_uses_[row]) {
    done.push_back({model, name});
    if (consume_) parents_[model].held->release(name);
  }
  return done;
}

Json MemoryGrowth::prove(const Json& order) {
  std::optional<double> budget;
  if (!order.at("loss_budget").is_null()) budget = order.at("loss_budget");
  std::vector<verify::Verdict> verdicts;
  if (record_) {
    Transformer child = as_stored(*child_);
    verdicts = verify::verify_growth({.parent = *record_,
                                      .recipe = recipe_,
                                      .probe = probe_,
                                      .loss_budget = budget},
                                     child);
    if (recipe_.has_noise()) {
      verdicts.push_back(verify::realised_noise(recipe_, child));
    }
  } else {
    verdicts = verify::verify_folders(parents(), *child_, recipe_, probe_,
                                      {.loss_budget = budget})
                   .verdicts;
  }
  verify::allow(verdicts, order.at("allow"));
  Json answer = {{"verdicts", verify::to_json(verdicts)}, {"failed", nullptr}};
  try {
    verify::require(verdicts);
  } catch (const VerdictError& failed) {
    answer["failed"] = failed.what();
  }
  return answer;
}

Json MemoryGrowth::record(const Json& verdicts) const {
  LineageRecord record{.op = recipe_.op,
                       .arguments = recipe_.arguments,
                       .seed = recipe_.seed,
                       .parent = hashes_.front(),
                       .child = content_hash(*child_),
                       .tensors = grow::to_json(recipe_).at("tensors"),
                       .verdicts = verdicts,
                       .versions = program_versions()};
  if (hashes_.size() > 1) record.parents = hashes_;
  const grow::StateGrowth state{growth_.optimizer, growth_.dynamics};
  record.replay = grow::replay_of({.weights = weights(), .state = state});
  return to_json(Lineage{record});
}

}  // namespace annuli::python
