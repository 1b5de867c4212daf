#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/budget/growth_memory.h"
#include "annuli/budget/machine_rates.h"
#include "annuli/budget/sending.h"
#include "annuli/budget/step_times.h"
#include "annuli/config/plan.h"
#include "annuli/model/tensor_table.h"

// What a plan will need, phase by phase, before anything is run: a dry run in
// numbers. Reads the plan, the tokenizer's size and, for `model: {from: ...}`,
// the model's config; no text and no weights.
namespace annuli::budget {

struct PhaseBudget {
  std::string name;
  ModelConfig config;
  ParameterCount parameters;

  // Memory, bytes; of processes that hold parts, of the one with most. The
  // first four are those of a training step at its largest.
  int64_t weights = 0;
  int64_t optimizer = 0;
  int64_t gradients = 0;
  int64_t activations = 0;
  std::vector<Moment> moments;  // of the phase, in order; without the program
  Moment peak;                  // the largest, with the program

  int64_t checkpoint_bytes = 0;  // on disk: what the phase writes and keeps
  int64_t state_bytes = 0;       // on disk: the state to go on from

  double step_flops = 0;     // as it is computed
  double counted_flops = 0;  // of a step, as a run's budget counts them
  double train_flops = 0;    // all steps
  double proof_flops = 0;    // growth's forward and backward passes, evaluation
  double moved_bytes = 0;    // by all updates: weights, gradients, state
  Sending sending;           // of each process in a step
  std::optional<double> seconds;  // at the measured rates
  std::optional<StepTimes> step;  // of those, one step of a process
};

// What a process would hold with a `parallel.shard`, at most.
struct ShardPeak {
  Sharding shard = Sharding::kNone;
  std::string phase;
  Moment peak;
  int64_t step_bytes_sent = 0;  // in the phase that sends most
};

struct PlanBudget {
  int64_t program = 0;  // what the program holds by itself
  Sharing sharing;      // memory, steps and times are those of one process
  std::vector<PhaseBudget> phases;
  int64_t kept_disk = 0;  // at the end
  int64_t peak_disk = 0;  // while a state replaces another
  std::optional<MachineRates> rates;
  Sharding shard = Sharding::kNone;   // the plan's
  std::vector<ShardPeak> all_shards;  // filled by whoever wants to compare

  const PhaseBudget& largest() const;
  int64_t peak_memory() const { return largest().peak.bytes; }
};

// `rates`: of one process. `computing`: seconds that a step of one process
// takes without sending, in each phase, in place of what the rates say.
// UserError if the processes can't share the steps.
PlanBudget plan_budget(const Plan& plan,
                       const std::optional<MachineRates>& rates = {},
                       const Sharing& sharing = {},
                       std::optional<double> computing = {});

// Whether processes may hold parts: check_plan refuses the others.
bool can_shard(const Plan& plan);

// The plan with each `parallel.shard`, in the order of what it saves.
std::vector<ShardPeak> compare_shards(const Plan& plan, const Sharing& sharing);

// Throws VerdictError, one line, if a phase needs more than `limit` bytes:
// which one, how much, at which moment, and the first lever that would make the
// plan fit (in the order of what they cost in loss).
void require_fits(const Plan& plan, const PlanBudget& budget, int64_t limit);

}  // namespace annuli::budget
