#include "annuli/train/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "annuli/core/rng.h"
#include "annuli/kernels/optim/adafactor.h"
#include "annuli/kernels/optim/adamw_8bit.h"
#include "annuli/kernels/optim/muon.h"
#include "annuli/kernels/optim/sgd.h"
#include "annuli/model/tensor_part.h"
#include "annuli/optim/state_layout.h"

namespace annuli::train {
namespace {

// What an update of one row is made of.
struct Row {
  const OptimizerPlan& plan;
  const TensorSpec& spec;
  const UpdateSettings& settings;
  double learning_rate;  // of the row's group
  double weight_decay;   // of its group, with the row's multiplier
  CounterRng rounding;
  at::Tensor& weight;
  const at::Tensor& gradient;
  optim::TensorState& state;
};

double adamw(const Row& row) {
  const kernels::AdamwStep step{
      .learning_rate = row.learning_rate * row.state.lr_multiplier,
      .beta1 = row.plan.adam_beta1,
      .beta2 = row.plan.adam_beta2,
      .eps = row.plan.adam_epsilon * row.state.eps_multiplier,
      .weight_decay = row.weight_decay,
      .step = row.state.step,
      .gradient_scale = row.settings.gradient_scale,
      .rounding = row.rounding,
  };
  optim::TensorState& state = row.state;
  if (!state.m_scales.defined()) {
    return kernels::adamw(row.weight, row.gradient, state.m, state.v, step);
  }
  kernels::Quantized m{state.m, state.m_scales};
  kernels::Quantized v{state.v, state.v_scales};
  return kernels::adamw_8bit(row.weight, row.gradient, m, v, step);
}

// A relative rate follows the weights' scale, which is lr_multiplier, by
// itself.
double adafactor(const Row& row) {
  const double multiplier = row.state.lr_multiplier;
  const double eps = row.state.eps_multiplier * row.state.eps_multiplier;
  const kernels::AdafactorStep step{
      .learning_rate =
          row.learning_rate * (row.plan.scale_parameter ? 1 : multiplier),
      .decay_rate = row.plan.decay_rate,
      .eps = kernels::kAdafactorEps * eps,
      .clip_threshold = row.plan.clip_threshold,
      .scale_parameter = row.plan.scale_parameter,
      .least_rms = kernels::kAdafactorLeastRms * multiplier,
      .weight_decay = row.weight_decay,
      .step = row.state.step,
      .gradient_scale = row.settings.gradient_scale,
      .rounding = row.rounding,
  };
  optim::TensorState& state = row.state;
  return state.v.defined()
             ? kernels::adafactor(row.weight, row.gradient, state.v, step)
             : kernels::adafactor(row.weight, row.gradient, state.v_rows,
                                  state.v_columns, step);
}

// The multipliers are AdamW's, whose steps do not see the gradient's scale:
// lr_multiplier is the weight's, eps_multiplier the gradient's. Here the step
// must be the gradient's times the quotient.
double sgd(const Row& row) {
  const double rate = row.learning_rate * row.state.lr_multiplier;
  const kernels::SgdStep step{
      .learning_rate = rate / row.state.eps_multiplier,
      .momentum = row.plan.momentum,
      .decay = rate * row.weight_decay,
      .gradient_scale = row.settings.gradient_scale,
      .rounding = row.rounding,
  };
  return kernels::sgd(row.weight, row.gradient, row.state.m, step);
}

double shape_factor(MuonScale scale, double rows, double columns) {
  return scale == MuonScale::kKeller ? std::sqrt(std::max(1.0, rows / columns))
                                     : 0.2 * std::sqrt(std::max(rows, columns));
}

// Growth has laid a matrix a times below and b times beside itself: its norm is
// sqrt(a b) times that of the one it repeats, its orthogonal factor that one's
// over sqrt(a b). So here the repeated matrix's shape counts, and the root is
// taken out again; the rest is in the multipliers, as for AdamW, whose steps do
// not see the gradient's scale either.
double muon(const Row& row) {
  optim::TensorState& state = row.state;
  const auto a = static_cast<double>(state.row_copies);
  const auto b = static_cast<double>(state.column_copies);
  const int64_t matrices = optim::matrices_in(row.spec);
  const double repeats = std::sqrt(a * b);
  const double rate = row.learning_rate * state.lr_multiplier;
  const auto rows = static_cast<double>(row.weight.size(0) / matrices);
  const auto columns = static_cast<double>(row.weight.size(1));
  const kernels::MuonStep step{
      .learning_rate = rate * repeats *
                       shape_factor(row.plan.muon_scale, rows / a, columns / b),
      .momentum = row.plan.muon_momentum,
      .decay = rate * row.weight_decay,
      .eps = kernels::kMuonEps * state.eps_multiplier * repeats,
      .gradient_scale = row.settings.gradient_scale,
      .matrices = matrices,
      .rows = row.spec.dimensions.front().block / matrices,
      .rounding = row.rounding,
  };
  return kernels::muon(row.weight, row.gradient, state.m, step);
}

const OptimizerGroup* group_of(const OptimizerPlan& plan,
                               const TensorSpec& spec) {
  for (const OptimizerGroup& group : plan.groups) {
    if (std::ranges::count(group.parts, tensor_part(spec)) > 0) return &group;
  }
  return nullptr;
}

}  // namespace

Optimizer::Optimizer(OptimizerPlan plan, size_t rows)
    : plan_(std::move(plan)), states_(rows) {}

Optimizer::Optimizer(OptimizerPlan plan, std::vector<optim::TensorState> states)
    : plan_(std::move(plan)), states_(std::move(states)) {}

void Optimizer::forget(size_t row) {
  optim::release_parts(states_.at(row));
  states_[row].step = 0;
}

CounterRng Optimizer::rounding(const TensorSpec& spec, size_t row,
                               uint64_t seed) const {
  const CounterRng of_row(seed, "train/rounding/" + spec.name);
  return {seed, of_row.bits(static_cast<uint64_t>(states_.at(row).step))};
}

double Optimizer::update(const TensorSpec& spec, size_t row, at::Tensor& weight,
                         const at::Tensor& gradient,
                         const UpdateSettings& settings) {
  if (!is_trained(spec.part)) return 0;
  optim::TensorState& state = states_.at(row);
  optim::adopt(state, optim::state_layout(plan_, spec, weight.scalar_type()),
               weight.device());
  ++state.step;
  const OptimizerGroup* group = group_of(plan_, spec);
  double rate = settings.learning_rate;
  double decay = spec.is_matrix() ? settings.weight_decay : 0;
  if (group != nullptr) {
    rate *= group->lr_factor;
    decay = group->weight_decay.value_or(decay);
  }
  const at::Tensor given =
      gradient.defined() ? gradient : at::zeros_like(weight);
  const Row order{
      .plan = plan_,
      .spec = spec,
      .settings = settings,
      .learning_rate = rate,
      .weight_decay = decay * state.weight_decay_multiplier,
      .rounding = rounding(spec, row, settings.seed),
      .weight = weight,
      .gradient = given,
      .state = state,
  };
  switch (plan_.type) {
    case OptimizerType::kAdamw:
    case OptimizerType::kAdamw8bit:
      return adamw(order);
    case OptimizerType::kAdafactor:
      return adafactor(order);
    case OptimizerType::kSgd:
      return sgd(order);
    case OptimizerType::kMuon:
      return optim::has_orthogonal_update(plan_, spec) ? muon(order)
                                                       : adamw(order);
  }
  return 0;
}

}  // namespace annuli::train
