#include "annuli/budget/plan_budget.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "annuli/budget/compute.h"
#include "annuli/budget/phase_steps.h"
#include "annuli/budget/stage_parts.h"
#include "annuli/budget/step_memory.h"
#include "annuli/core/rng.h"
#include "annuli/grow/coded_growth.h"
#include "annuli/model/row_owners.h"
#include "annuli/train/frozen_entries.h"
#include "annuli/train/schedule.h"
#include "annuli/train/step_share.h"

namespace annuli::budget {
namespace {

int64_t most_weight_buckets(const StageParts& parts) {
  int64_t most = 0;
  for (size_t stage = 0; stage < parts.size(); ++stage) {
    most = std::max(most, parts.weight_buckets(stage));
  }
  return most;
}

// One phase, from the config that the phase before left.
class Phase {
 public:
  Phase(const Plan& plan, const PhasePlan& phase, const ModelConfig& parent,
        int64_t processes)
      : plan_(plan),
        phase_(phase),
        processes_(processes),
        holders_(plan.parallel.shard == Sharding::kNone ? 1 : processes),
        numbers_(number_types(plan.precision)) {
    if (phase.grow) {
      recipe_ = grow::recipe_of(*phase.grow, parent, 0, numbers_);
    }
    budget_.name = phase.name;
    budget_.config = recipe_ ? recipe_->child : parent;
    budget_.parameters = count_parameters(budget_.config);
    budget_.weights = weight_bytes(budget_.config, numbers_);
    note_frozen();
    budget_.optimizer =
        state_bytes(budget_.config, plan, holders_, frozen_.rows);
  }

  PhaseBudget budget(int64_t program) {
    memory(program);
    disk();
    compute();
    return std::move(budget_);
  }

 private:
  GrowthShape growth() const {
    return {.plan = plan_,
            .recipe = *recipe_,
            .numbers = numbers_,
            .holders = holders_,
            .weights_in_parts = in_parts()};
  }

  // Rows that stay frozen; what is frozen for a time counts as trained.
  void note_frozen() {
    const auto& freeze = phase_.train.freeze;
    if (!freeze || freeze->unfreeze_after) return;
    const ModelConfig& config = budget_.config;
    const TensorTable table = tensor_table(config);
    frozen_.rows =
        train::FrozenEntries(*freeze, table, recipe_ ? &*recipe_ : nullptr)
            .whole_rows();
    const double chosen =
        config.is_mixture() ? static_cast<double>(config.num_experts_per_tok) /
                                  static_cast<double>(config.num_experts)
                            : 1;
    for (size_t row = 0; row < table.size(); ++row) {
      if (!frozen_.rows[row]) continue;
      const TensorSpec& spec = table[row];
      frozen_.gradients +=
          tensor_bytes(spec.trained_entries(), numbers_.arithmetic);
      const bool is_head =
          spec.part == Part::kHead ||
          (spec.part == Part::kEmbedding && config.tie_word_embeddings);
      frozen_.head = frozen_.head || is_head;
      const bool is_product = spec.layer >= 0 && spec.is_matrix();
      if (is_product || is_head) {
        frozen_.met_entries +=
            static_cast<double>(spec.numel()) * (spec.expert >= 0 ? chosen : 1);
      }
    }
  }

  bool in_parts() const {
    return holders_ > 1 && plan_.parallel.shard == Sharding::kFull;
  }

  StepMemory step() const {
    const TrainPlan& train = phase_.train;
    const train::StepShare share(train, 0, processes_);
    return step_memory(
        {.config = budget_.config,
         .numbers = numbers_,
         .batch_size = share.windows_of_pass,
         .sequence_length = train::window_length(plan_, train),
         .gradient_checkpointing = train.gradient_checkpointing,
         .holds_gradient = train::holds_gradient(train),
         .parts = share.parts,
         .passes = share.passes_of_part,
         .processes = processes_,
         .shard = plan_.parallel.shard,
         .sums_wait = train.max_grad_norm > 0,
         .update = update_memory(budget_.config, plan_.optimizer, numbers_),
         .frozen_gradients = frozen_.gradients,
         .frozen_head = frozen_.head});
  }

  // Weights in parts are whole only where samples are generated.
  void memory(int64_t program) {
    std::vector<Moment>& moments = budget_.moments;
    if (recipe_) moments = growth_moments(growth());
    const StepMemory most = step();
    budget_.gradients = most.gradients;
    budget_.activations = most.activations;
    const int64_t widened = widened_layer(budget_.config, numbers_);
    int64_t in_pass = budget_.weights + widened;
    if (in_parts()) {
      const StageParts parts(budget_.config, numbers_, holders_);
      if (!plan_.samples.prompts.empty()) {
        moments.push_back(
            {"gather the weights",
             budget_.weights + budget_.optimizer + most_weight_buckets(parts)});
      }
      in_pass = parts.weights_in_pass();
      budget_.weights = parts.own_weights() + most.fetched;
    }
    moments.push_back({"train", budget_.weights + budget_.optimizer +
                                    most.gradients + most.activations +
                                    widened +
                                    widened_update(budget_.config, numbers_)});
    if (plan_.evaluation.windows > 0) {
      moments.push_back(
          {"evaluate", in_pass + budget_.optimizer + evaluation()});
    }
    if (recipe_) moments.push_back(phase_proof(growth()));
    budget_.peak = *std::ranges::max_element(moments, {}, &Moment::bytes);
    budget_.peak.bytes += program;
  }

  // A window without a graph; the head in full arithmetic.
  int64_t evaluation() const {
    const ModelConfig& config = budget_.config;
    const int64_t rows = plan_.data.sequence_length;
    const int64_t table = config.vocab_size * config.hidden_size;
    const int64_t head =
        tensor_bytes(std::min(kHeadRows, rows) * config.vocab_size,
                     numbers_.arithmetic) +
        (numbers_.weights == numbers_.arithmetic
             ? 0
             : tensor_bytes(table, numbers_.arithmetic));
    return std::max(head, forward_memory(config, numbers_, rows));
  }

  void disk() {
    const int64_t files = phase_.init_checkpoint.empty() ? 1 : 2;
    const int64_t weights = weight_bytes(budget_.config, numbers_);
    NumberTypes of_files = numbers_;
    of_files.coded = false;
    budget_.checkpoint_bytes = files * weight_bytes(budget_.config, of_files);
    budget_.state_bytes =
        weights + state_bytes(budget_.config, plan_, 1, frozen_.rows);
  }

  void compute() {
    const TrainPlan& train = phase_.train;
    const int64_t length = train::window_length(plan_, train);
    const auto steps = static_cast<double>(train.max_steps);
    budget_.step_flops =
        step_flops(budget_.config, train, length, frozen_.met_entries);
    budget_.counted_flops = training_flops(budget_.config, length,
                                           train::tokens_of_step(plan_, train));
    budget_.train_flops = steps * budget_.step_flops;
    budget_.sending = sending_of_step(budget_.config, numbers_, train,
                                      processes_, plan_.parallel.shard);
    budget_.moved_bytes = steps * bytes_of_update();
    const int64_t held_out = plan_.data.sequence_length;
    budget_.proof_flops =
        forward_flops(budget_.config, held_out) *
        static_cast<double>(plan_.evaluation.windows * held_out);
    if (recipe_) budget_.proof_flops += growth_flops();
  }

  // Weights and state are read and written, gradients written and read; of
  // processes that hold parts, those of the own rows.
  double bytes_of_update() const {
    const int64_t entries =
        RowOwners(tensor_table(budget_.config), holders_).most_entries();
    const auto bytes =
        static_cast<int64_t>(c10::elementSize(numbers_.weights) +
                             c10::elementSize(numbers_.arithmetic));
    return 2 * static_cast<double>(budget_.optimizer + entries * bytes);
  }

  // The probe's windows by parent and child, the router's tokens by both, and
  // the gradients of the symmetry check with its control.
  double growth_flops() const {
    const ProbePlan& probe = plan_.probe;
    const double parent = forward_flops(recipe_->parent, probe.length);
    const double child = forward_flops(recipe_->child, probe.length);
    const auto tokens = static_cast<double>(probe.windows * probe.length);
    double flops = tokens * (parent + child);
    flops += static_cast<double>(probe.router_tokens) * (parent + child);
    if (recipe_->has_noise()) {
      flops += 2 * 4 * child * static_cast<double>(probe.length);
    }
    return flops;
  }

  const Plan& plan_;
  const PhasePlan& phase_;
  int64_t processes_;
  int64_t holders_;  // those that hold parts, or 1
  NumberTypes numbers_;
  std::optional<grow::Recipe> recipe_;
  struct {
    std::vector<bool> rows;  // empty: none is
    double met_entries = 0;  // of theirs, those that a token is multiplied with
    int64_t gradients = 0;   // bytes that there are not
    bool head = false;       // among them
  } frozen_;
  PhaseBudget budget_;
};

// Checkpoints stay; of the states, in the order in which they are saved, the
// newest save_total_limit.
void count_disk(const Plan& plan, PlanBudget& budget) {
  int64_t kept = 0;
  std::vector<int64_t> states;
  const auto on_disk = [&] {
    return std::accumulate(states.begin(), states.end(), kept);
  };
  const auto save = [&](int64_t bytes) {
    states.push_back(bytes);
    budget.peak_disk = std::max(budget.peak_disk, on_disk());
    if (std::ssize(states) > plan.save_total_limit) {
      states.erase(states.begin());
    }
  };
  for (size_t i = 0; i < budget.phases.size(); ++i) {
    const PhaseBudget& phase = budget.phases[i];
    const int64_t within =
        plan.save_steps > 0
            ? (plan.phases[i].train.max_steps - 1) / plan.save_steps
            : 0;
    for (int64_t n = std::min(within, plan.save_total_limit + 1); n > 0; --n) {
      save(phase.state_bytes);
    }
    kept += phase.checkpoint_bytes;
    budget.peak_disk = std::max(budget.peak_disk, on_disk());
    // After the last phase nothing is left to go on to.
    if (i + 1 < budget.phases.size()) save(phase.state_bytes);
  }
  budget.kept_disk = on_disk();
}

// Each process makes its part of a step's passes, and all of the update and of
// the proofs.
void estimate_times(const Plan& plan, PlanBudget& budget,
                    const MachineRates& rates, std::optional<double> measured) {
  const auto share = static_cast<double>(budget.sharing.processes);
  for (size_t i = 0; i < budget.phases.size(); ++i) {
    PhaseBudget& phase = budget.phases[i];
    const TrainPlan& train = plan.phases[i].train;
    const auto steps = static_cast<double>(train.max_steps);
    const double computing =
        measured.value_or(phase.step_flops / share / rates.product_flops +
                          phase.moved_bytes / steps / rates.memory_bytes);
    phase.step = step_times(phase.config, number_types(plan.precision), train,
                            budget.sharing, plan.parallel.shard, computing);
    phase.seconds =
        phase.proof_flops / rates.product_flops + steps * phase.step->together;
  }
}

}  // namespace

bool can_shard(const Plan& plan) {
  return plan.precision != Precision::kInt8Weights;
}

const PhaseBudget& PlanBudget::largest() const {
  return *std::ranges::max_element(
      phases, {}, [](const PhaseBudget& p) { return p.peak.bytes; });
}

PlanBudget plan_budget(const Plan& plan,
                       const std::optional<MachineRates>& rates,
                       const Sharing& sharing,
                       std::optional<double> computing) {
  train::require_shareable(plan, sharing.processes);
  PlanBudget budget{.program = program_bytes(),
                    .sharing = sharing,
                    .rates = rates,
                    .shard = plan.parallel.shard};
  ModelConfig config = config_at_start(plan);
  for (const PhasePlan& phase : plan.phases) {
    budget.phases.push_back(
        Phase(plan, phase, config, sharing.processes).budget(budget.program));
    config = budget.phases.back().config;
  }
  count_disk(plan, budget);
  if (rates) estimate_times(plan, budget, *rates, computing);
  return budget;
}

std::vector<ShardPeak> compare_shards(const Plan& plan,
                                      const Sharing& sharing) {
  std::vector<ShardPeak> all;
  for (const Sharding shard :
       {Sharding::kNone, Sharding::kOptimizer, Sharding::kFull}) {
    if (!can_shard(plan) && shard != Sharding::kNone) continue;
    Plan changed = plan;
    changed.parallel.shard = shard;
    const PlanBudget budget = plan_budget(changed, {}, sharing);
    int64_t sent = 0;
    for (const PhaseBudget& phase : budget.phases) {
      sent = std::max(sent, phase.sending.bytes);
    }
    all.push_back({.shard = shard,
                   .phase = budget.largest().name,
                   .peak = budget.largest().peak,
                   .step_bytes_sent = sent});
  }
  return all;
}

}  // namespace annuli::budget
