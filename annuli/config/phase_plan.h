#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

// One phase of a plan: an optional growth step, then training; it ends in a
// checkpoint. Plain values with defaults; names are the keys of the YAML file.
namespace annuli {

enum class RouterInit { kRandom, kZero };
enum class WidenHead { kUntie, kFold };
enum class DeepenPreset { kCopyLast, kStack, kInterpose };
enum class DeepenOutputs { kZero, kKeep };
enum class OptimizerState { kCarry, kReset };
enum class Dynamics { kPlain, kExact };
enum class LrSchedulerType { kConstant, kLinear, kCosine, kWsd };

// Dense feed-forward -> mixture of copied experts.
struct UpcyclePlan {
  int64_t num_experts = 8;
  int64_t num_experts_per_tok = 2;
  RouterInit router = RouterInit::kRandom;
  double router_std = 0.02;
  bool operator==(const UpcyclePlan&) const = default;
};

// Residual, heads and feed-forward times `factor`.
struct WidenPlan {
  int64_t factor = 2;
  std::optional<double> noise_snr_db = 10;  // nullopt: no noise
  WidenHead head = WidenHead::kUntie;       // of a tied parent
  bool operator==(const WidenPlan&) const = default;
};

// More layers, copied from the parent's.
struct DeepenPlan {
  DeepenPreset preset = DeepenPreset::kCopyLast;
  int64_t add_layers = 3;
  DeepenOutputs outputs = DeepenOutputs::kZero;
  std::vector<int64_t> layer_map;  // child -> parent; if given, it decides
  bool operator==(const DeepenPlan&) const = default;
};

// Exactly one of the three operators is set (`check` sees to it).
struct GrowPlan {
  std::optional<UpcyclePlan> upcycle;
  std::optional<WidenPlan> widen;
  std::optional<DeepenPlan> deepen;
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
  bool operator==(const GrowPlan&) const = default;
};

struct TrainPlan {
  int64_t max_steps = 10;
  double learning_rate = 3e-4;
  int64_t batch_size = 8;  // windows in one forward pass
  int64_t gradient_accumulation_steps = 1;
  LrSchedulerType lr_scheduler_type = LrSchedulerType::kConstant;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0;   // linear, cosine, wsd: last rate / learning_rate
  double decay_ratio = 0.2;  // wsd: share of max_steps spent decaying
  double max_grad_norm = 0;  // 0: no clipping
  std::optional<double> weight_decay;  // nullopt: the optimizer's
  double router_aux_loss_coef = 0.01;
  double router_z_loss_coef = 0;
  // nullopt until loaded; then true where the router began as `random`.
  std::optional<bool> router_mean_projection;
  bool operator==(const TrainPlan&) const = default;
};

struct PhasePlan {
  std::string name;
  std::optional<GrowPlan> grow;
  std::string init_checkpoint;  // before training; empty: none
  std::string checkpoint;       // after training; loaded: "<name>.pt" if empty
  TrainPlan train;
  std::vector<std::string> allow;  // checks whose failure is a warning
  std::optional<double> boundary_loss_budget;  // nullopt: the plan's
  // Figures to print beside the measured ones, as text: total_parameters,
  // active_parameters, loss_first, loss_last, jump, memory_gb.
  std::map<std::string, std::string> expected;
  bool operator==(const PhasePlan&) const = default;
};

}  // namespace annuli
