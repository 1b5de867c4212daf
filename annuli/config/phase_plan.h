#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/enum_words.h"

// One phase of a plan: an optional growth step, then training; it ends in a
// checkpoint. Plain values with defaults; names are the keys of the YAML file.
namespace annuli {

enum class RouterInit { kRandom, kMeanOrthogonal, kZero, kCentroids };
ANNULI_ENUM_WORDS(RouterInit, "random", "mean-orthogonal", "zero", "centroids");
enum class ShardScale { kDown, kUpAndDown };
ANNULI_ENUM_WORDS(ShardScale, "down", "up-and-down");
enum class WidenHead { kUntie, kFold, kMultiplier };
ANNULI_ENUM_WORDS(WidenHead, "untie", "fold", "multiplier");
enum class DeepenPreset { kCopyLast, kStack, kInterpose, kMiddle, kZeroOutput };
ANNULI_ENUM_WORDS(DeepenPreset, "copy-last", "stack", "interpose", "middle",
                  "zero-output");
enum class DeepenOutputs { kZero, kKeep };
ANNULI_ENUM_WORDS(DeepenOutputs, "zero", "keep");
// Groups of matrices: q, k, v, o; gate, up, down of every feed-forward and
// expert; the routers of mixtures; the table and the head.
enum class MatrixGroup { kAttention, kFeedForward, kRouter, kEmbedding };
ANNULI_ENUM_WORDS(MatrixGroup, "attention", "feed-forward", "router",
                  "embedding");
// Tensors by what they do: q, k, v, o; gate, up, down; routers; the embedding's
// table; a head of its own; the gains of norms; biases.
enum class TensorPart {
  kAttention,
  kFeedForward,
  kRouter,
  kEmbedding,
  kHead,
  kGains,
  kBiases,
};
ANNULI_ENUM_WORDS(TensorPart, "attention", "feed-forward", "router",
                  "embedding", "head", "gains", "biases");
enum class OptimizerState { kCarry, kReset };
ANNULI_ENUM_WORDS(OptimizerState, "carry", "reset");
enum class Dynamics { kPlain, kExact };
ANNULI_ENUM_WORDS(Dynamics, "plain", "exact");
// How the norm that clips is found.
enum class ClipNorm {
  kWhole,         // the whole gradient is held until its norm is known
  kTwoPass,       // a first pass for the norm alone; the same bits as kWhole
  kPreviousNorm,  // the norm of the step before: inexact
};
ANNULI_ENUM_WORDS(ClipNorm, "whole", "two_pass", "previous_norm");
enum class LrSchedulerType { kConstant, kLinear, kCosine, kWsd };
ANNULI_ENUM_WORDS(LrSchedulerType, "constant", "linear", "cosine", "wsd");
// Where a phase's schedule stands: in the plan, or in the phase.
enum class ScheduleOf { kRun, kPhase };
ANNULI_ENUM_WORDS(ScheduleOf, "run", "phase");
// Which entries a rate that rises once more acts on: all, or those that the
// phase's growth added.
enum class RewarmOf { kAll, kNew };
ANNULI_ENUM_WORDS(RewarmOf, "all", "new");
enum class ExtendMethod { kYarn, kTheta, kLinear };
ANNULI_ENUM_WORDS(ExtendMethod, "yarn", "theta", "linear");
enum class LayerSource { kCopy, kRandom };
ANNULI_ENUM_WORDS(LayerSource, "copy", "random");

// Dense feed-forward -> mixture of copied experts.
struct UpcyclePlan {
  int64_t num_experts = 8;  // copies; with a granularity G, G experts each
  int64_t num_experts_per_tok = 2;
  RouterInit router = RouterInit::kRandom;
  double router_std = 0.02;
  int64_t granularity = 1;  // shards that each copy is cut into
  ShardScale shard_scale = ShardScale::kDown;
  bool shared_expert = false;  // holds the parent's; routed ones add nothing
  double drop_ratio = 0;       // share of each expert's units drawn anew
  bool selection_bias = false;
  bool operator==(const UpcyclePlan&) const = default;
};

// Every axis times `factor`, or to the sizes given.
struct WidenPlan {
  std::optional<double> factor;             // unset: 2, or 1 beside sizes
  std::optional<double> noise_snr_db = 10;  // nullopt: no noise
  WidenHead head = WidenHead::kUntie;       // of a tied parent
  std::optional<int64_t> hidden;
  std::optional<int64_t> heads;
  std::optional<int64_t> kv_heads;
  std::optional<int64_t> ffn;
  std::optional<int64_t> shared_ffn;
  bool operator==(const WidenPlan&) const = default;
};

// More layers, copied from the parent's.
struct DeepenPlan {
  DeepenPreset preset = DeepenPreset::kCopyLast;
  int64_t add_layers = 3;
  LayerSource weights = LayerSource::kCopy;  // of new layers
  DeepenOutputs outputs = DeepenOutputs::kZero;
  std::vector<int64_t> layer_map;  // child -> parent; if given, it decides
  bool operator==(const DeepenPlan&) const = default;
};

// Every expert `factor` times.
struct ExpandExpertsPlan {
  int64_t factor = 2;
  std::optional<int64_t> num_experts_per_tok;  // unset: times `factor` too
  bool selection_bias = false;  // copies are closed at first; see the operator
  bool operator==(const ExpandExpertsPlan&) const = default;
};

// One expert from the feed-forward of the parent and of each of `with`, the
// mean of them all for the rest.
struct MergeExpertsPlan {
  std::vector<std::string> with;  // folders of dense models of one shape
  int64_t num_experts_per_tok = 2;
  RouterInit router = RouterInit::kRandom;
  double router_std = 0.02;
  bool operator==(const MergeExpertsPlan&) const = default;
};

// Normal noise on whole matrices, each against its own root mean square.
struct PerturbPlan {
  double relative_std = 0.01;
  std::vector<MatrixGroup> tensors = {MatrixGroup::kAttention,
                                      MatrixGroup::kFeedForward};
  bool operator==(const PerturbPlan&) const = default;
};

// The head gets a table of its own, equal to the embedding's.
struct UntiePlan {
  OptimizerState head_state = OptimizerState::kCarry;  // the table's, copied
  bool operator==(const UntiePlan&) const = default;
};

// All matrices smaller, with noise against what their root mean square was
// (2605.13405; Ash and Adams, 1910.08475).
struct ShrinkPerturbPlan {
  double shrink = 0.5;
  double relative_std = 0.1;
  bool operator==(const ShrinkPerturbPlan&) const = default;
};

// Longer sequences: other rotary frequencies, every tensor as it is.
struct ExtendPlan {
  int64_t max_position_embeddings = 0;  // must be given
  ExtendMethod method = ExtendMethod::kYarn;
  std::optional<double> rope_theta;  // of `theta`; unset: follows the lengths
  bool operator==(const ExtendPlan&) const = default;
};

// One operator: exactly one is set (`check` sees to it).
struct GrowthStep {
  std::optional<UpcyclePlan> upcycle;
  std::optional<WidenPlan> widen;
  std::optional<DeepenPlan> deepen;
  std::optional<ExpandExpertsPlan> expand_experts;
  std::optional<MergeExpertsPlan> merge_experts;
  std::optional<PerturbPlan> perturb;
  std::optional<UntiePlan> untie;
  std::optional<ShrinkPerturbPlan> shrink_perturb;
  std::optional<ExtendPlan> extend;
  bool operator==(const GrowthStep&) const = default;
};

// One operator, or a chain of them that counts as one.
struct GrowPlan : GrowthStep {
  std::vector<GrowthStep> chain;
  OptimizerState optimizer = OptimizerState::kCarry;
  Dynamics dynamics = Dynamics::kPlain;
  bool operator==(const GrowPlan&) const = default;
};

// What a phase leaves as it is: whatever one of these names.
struct FreezePlan {
  bool parent = false;  // what the phase's growth found, but copies of it
  std::vector<TensorPart> parts;
  std::vector<int64_t> layers;
  std::vector<int64_t> experts;           // by number, of all layers
  std::optional<int64_t> unfreeze_after;  // steps; nullopt: never
  bool operator==(const FreezePlan&) const = default;
};

// Ends a phase before its last step: see train/loss_slope.h.
struct UntilPlan {
  double slope = 0;  // nats per doubling of the run's operations
  bool operator==(const UntilPlan&) const = default;
};

struct TrainPlan {
  int64_t max_steps = 10;  // loaded: 0 where one of the next three stands
  std::optional<double> max_tokens;
  std::optional<double> max_flops;
  std::optional<double> share;  // of the plan's budget
  std::optional<UntilPlan> until;
  double learning_rate = 3e-4;
  std::optional<int64_t> sequence_length;  // nullopt: the data's
  int64_t batch_size = 8;                  // windows in one pass of all parts
  // Windows of one part of a batch; nullopt: the whole batch. Parts may be
  // computed by different processes, and are summed as a tree.
  std::optional<int64_t> micro_batch_size;
  int64_t gradient_accumulation_steps = 1;
  bool gradient_checkpointing = false;
  LrSchedulerType lr_scheduler_type = LrSchedulerType::kConstant;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0;   // linear, cosine, wsd: last rate / learning_rate
  double decay_ratio = 0.2;  // wsd: share of max_steps spent decaying
  ScheduleOf schedule = ScheduleOf::kRun;  // kPhase, if the plan has none
  int64_t rewarm_steps = 0;  // the rate rises in a line from 0 once more
  RewarmOf rewarm_of = RewarmOf::kAll;
  double max_grad_norm = 0;  // 0: no clipping
  ClipNorm clip = ClipNorm::kWhole;
  std::optional<double> weight_decay;  // nullopt: the optimizer's
  std::optional<FreezePlan> freeze;
  double router_aux_loss_coef = 0.01;
  double router_z_loss_coef = 0;
  // Of selection biases, towards equal load (2408.15664); 0: they stay.
  double selection_bias_rate = 0;
  // nullopt until loaded; then true where the router began as `random`.
  std::optional<bool> router_mean_projection;
  bool operator==(const TrainPlan&) const = default;
};

// How many parts a batch has: the most processes that can share a step.
inline int64_t batch_parts(const TrainPlan& train) {
  return train.batch_size / train.micro_batch_size.value_or(train.batch_size);
}

// Forward passes to one update, those of all parts.
inline int64_t step_passes(const TrainPlan& train) {
  return batch_parts(train) * train.gradient_accumulation_steps;
}

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
