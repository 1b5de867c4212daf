#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "annuli/budget/plan_budget.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"

namespace annuli::budget {
namespace {

// A change of the plan that saves memory, in the words of the plan.
struct Lever {
  std::string words;
  std::function<void(Plan&)> pull;
};

void checkpoint_all(Plan& plan) {
  for (PhasePlan& phase : plan.phases) {
    phase.train.gradient_checkpointing = true;
  }
}

void two_passes(Plan& plan) {
  for (PhasePlan& phase : plan.phases) {
    TrainPlan& train = phase.train;
    if (train.max_grad_norm > 0 && step_passes(train) == 1) {
      train.clip = ClipNorm::kTwoPass;
    }
  }
}

// A phase whose batch it does not divide, or whose clipping needs a single
// pass, stays as it is.
void use_micro_batches(Plan& plan, int64_t windows) {
  for (PhasePlan& phase : plan.phases) {
    TrainPlan& train = phase.train;
    if (train.batch_size % windows == 0 && train.clip == ClipNorm::kWhole) {
      train.micro_batch_size =
          std::min(windows, train.micro_batch_size.value_or(windows));
    }
  }
}

// Halves of the largest batch, their halves, and so on.
void add_micro_batches(std::vector<Lever>& levers, const Plan& plan) {
  int64_t largest = 0;
  for (const PhasePlan& phase : plan.phases) {
    largest = std::max(largest, phase.train.batch_size);
  }
  for (int64_t windows = largest; windows > 1 && windows % 2 == 0;) {
    windows /= 2;
    levers.push_back({fmt::format("train.micro_batch_size={}", windows),
                      [=](Plan& p) { use_micro_batches(p, windows); }});
  }
}

void use_optimizer(Plan& plan, OptimizerType type) {
  plan.optimizer.type = type;
  plan.optimizer.state_dtype = StateDtype::kFp32;
  plan.optimizer.momentum = 0;
}

void use_bf16(Plan& plan) {
  plan.precision = Precision::kBf16;
  use_optimizer(plan, OptimizerType::kAdamw8bit);
}

// What several processes can hold parts of, beyond what they do.
void add_shards(std::vector<Lever>& levers, const Plan& plan) {
  for (const Sharding shard : {Sharding::kOptimizer, Sharding::kFull}) {
    if (shard <= plan.parallel.shard || !can_shard(plan)) continue;
    levers.push_back({fmt::format("parallel.shard={}", word_of(shard)),
                      [=](Plan& p) { p.parallel.shard = shard; }});
  }
}

// In the order of what they cost: first those that change no bit, then the
// order of a sum, then by the losses of docs/numerics.md. Each is tried alone,
// the last with checkpointing.
std::vector<Lever> levers(const Plan& plan, const Sharing& sharing) {
  std::vector<Lever> all;
  if (sharing.processes > 1) add_shards(all, plan);
  all.push_back({"train.gradient_checkpointing=true", checkpoint_all});
  all.push_back({"train.clip=two_pass", two_passes});
  add_micro_batches(all, plan);
  const std::vector<Lever> of_numbers = {
      {"optimizer.type=adamw_8bit",
       [](Plan& p) { use_optimizer(p, OptimizerType::kAdamw8bit); }},
      {"optimizer.type=adafactor",
       [](Plan& p) { use_optimizer(p, OptimizerType::kAdafactor); }},
      {"precision=bf16 with optimizer.type=adamw_8bit", use_bf16},
      {"precision=bf16, optimizer.type=adamw_8bit and "
       "train.gradient_checkpointing=true",
       [](Plan& p) {
         use_bf16(p);
         checkpoint_all(p);
       }},
  };
  all.insert(all.end(), of_numbers.begin(), of_numbers.end());
  return all;
}

std::string bytes(int64_t count) {
  return format_bytes(static_cast<double>(count));
}

bool can_share(const Plan& plan, int64_t processes) {
  return std::ranges::all_of(plan.phases, [&](const PhasePlan& phase) {
    return batch_parts(phase.train) % processes == 0;
  });
}

// "try X, with which it is 8.2 GB".
std::string advice(const Plan& plan, const Sharing& sharing, int64_t limit) {
  int64_t least = 0;
  std::string words;
  for (const Lever& lever : levers(plan, sharing)) {
    Plan changed = plan;
    lever.pull(changed);
    if (!can_share(changed, sharing.processes)) continue;
    const int64_t peak = plan_budget(changed, {}, sharing).peak_memory();
    if (peak <= limit) {
      return fmt::format("try {}: {}", lever.words, bytes(peak));
    }
    if (words.empty() || peak < least) {
      least = peak;
      words = lever.words;
    }
  }
  return fmt::format(
      "no single setting is enough ({} with {}); try a smaller batch_size, "
      "sequence_length or model",
      bytes(least), words);
}

}  // namespace

void require_fits(const Plan& plan, const PlanBudget& budget, int64_t limit) {
  for (const PhaseBudget& phase : budget.phases) {
    if (phase.peak.bytes <= limit) continue;
    throw VerdictError(fmt::format(
        "planning {}: phase {} needs {} to {}, the memory limit is {}; {}",
        plan.name, phase.name, bytes(phase.peak.bytes), phase.peak.name,
        bytes(limit), advice(plan, budget.sharing, limit)));
  }
}

}  // namespace annuli::budget
