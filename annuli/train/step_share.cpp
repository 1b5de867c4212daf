#include "annuli/train/step_share.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <bit>
#include <vector>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

bool is_power_of_two(int64_t n) {
  return n > 0 && std::has_single_bit(static_cast<uint64_t>(n));
}

// What to set in the phase, so that it can be shared.
std::string advice(const PhasePlan& phase, int64_t processes) {
  const TrainPlan& train = phase.train;
  const std::string key = fmt::format("phases.{}.train.", phase.name);
  if (train.batch_size % processes != 0) {
    const int64_t next = (train.batch_size / processes + 1) * processes;
    return fmt::format(
        "set {0}batch_size to {1} and {0}micro_batch_size to {2}", key, next,
        next / processes);
  }
  const std::string micro = fmt::format("set {}micro_batch_size to {}", key,
                                        train.batch_size / processes);
  return train.clip == ClipNorm::kWhole
             ? micro
             : fmt::format("{} and {}clip to whole", micro, key);
}

}  // namespace

StepShare::StepShare(const TrainPlan& train, int64_t rank, int64_t processes)
    : first_part(rank * batch_parts(train) / processes),
      parts(batch_parts(train) / processes),
      passes_of_part(train.gradient_accumulation_steps),
      passes_of_step(step_passes(train)),
      windows_of_pass(train.batch_size / batch_parts(train)) {
  ANNULI_CHECK(
      is_power_of_two(processes) && batch_parts(train) % processes == 0,
      "{} parts for {} processes", batch_parts(train), processes);
}

bool holds_gradient(const TrainPlan& train) {
  return step_passes(train) > 1 ||
         (train.max_grad_norm > 0 && train.clip == ClipNorm::kWhole);
}

void require_shareable(const Plan& plan, int64_t processes) {
  if (!is_power_of_two(processes)) {
    user_error(
        "sharing the steps of {}: found {} processes, expected a power of two; "
        "start {} or {}",
        plan.name, processes, std::bit_floor(static_cast<uint64_t>(processes)),
        std::bit_ceil(static_cast<uint64_t>(processes)));
  }
  std::vector<std::string> refused;
  for (const PhasePlan& phase : plan.phases) {
    const int64_t parts = batch_parts(phase.train);
    if (parts % processes == 0) continue;
    refused.push_back(
        fmt::format("sharing phase {} among {} processes: its batch has {} "
                    "part{}, expected "
                    "a multiple of {}; {}",
                    phase.name, processes, parts, parts == 1 ? "" : "s",
                    processes, advice(phase, processes)));
  }
  if (!refused.empty()) user_error("{}", fmt::join(refused, "; "));
}

}  // namespace annuli::train
