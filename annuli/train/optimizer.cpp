#include "annuli/train/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include "annuli/core/rng.h"
#include "annuli/kernels/optim/adafactor.h"
#include "annuli/kernels/optim/adamw_8bit.h"
#include "annuli/kernels/optim/sgd.h"
#include "annuli/optim/state_layout.h"

namespace annuli::train {
namespace {

// What an update of one row is made of.
struct Row {
  const OptimizerPlan& plan;
  const UpdateSettings& settings;
  double weight_decay;  // with the row's multiplier
  CounterRng rounding;
  at::Tensor& weight;
  const at::Tensor& gradient;
  optim::TensorState& state;
};

double adamw(const Row& row) {
  const kernels::AdamwStep step{
      .learning_rate = row.settings.learning_rate * row.state.lr_multiplier,
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
      .learning_rate = row.settings.learning_rate *
                       (row.plan.scale_parameter ? 1 : multiplier),
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
  const double rate = row.settings.learning_rate * row.state.lr_multiplier;
  const kernels::SgdStep step{
      .learning_rate = rate / row.state.eps_multiplier,
      .momentum = row.plan.momentum,
      .decay = rate * row.weight_decay,
      .gradient_scale = row.settings.gradient_scale,
      .rounding = row.rounding,
  };
  return kernels::sgd(row.weight, row.gradient, row.state.m, step);
}

}  // namespace

Optimizer::Optimizer(OptimizerPlan plan, size_t rows)
    : plan_(plan), states_(rows) {}

Optimizer::Optimizer(OptimizerPlan plan, std::vector<optim::TensorState> states)
    : plan_(plan), states_(std::move(states)) {}

void Optimizer::forget(size_t row) {
  optim::release_parts(states_.at(row));
  states_[row].step = 0;
}

double Optimizer::update(const TensorSpec& spec, size_t row, at::Tensor& weight,
                         const at::Tensor& gradient,
                         const UpdateSettings& settings) {
  optim::TensorState& state = states_.at(row);
  optim::adopt(state, optim::state_layout(plan_, spec, weight.scalar_type()),
               weight.device());
  ++state.step;
  const double decay = spec.is_matrix() ? settings.weight_decay : 0;
  const CounterRng of_row(settings.seed, "train/rounding/" + spec.name);
  const at::Tensor given =
      gradient.defined() ? gradient : at::zeros_like(weight);
  const Row order{
      .plan = plan_,
      .settings = settings,
      .weight_decay = decay * state.weight_decay_multiplier,
      .rounding = {settings.seed,
                   of_row.bits(static_cast<uint64_t>(state.step))},
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
  }
  return 0;
}

}  // namespace annuli::train
