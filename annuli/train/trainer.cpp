#include "annuli/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/outer.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/quantize/stochastic_rounding.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/schedule.h"

namespace annuli::train {
namespace {

double squares_of(const at::Tensor& gradient) {
  RECORD_USER_SCOPE("gradient norm");
  return kernels::squared_norm(gradient);
}

}  // namespace

double load_imbalance(const StepRecord& record) {
  double sum = 0;
  for (const std::vector<int64_t>& slots : record.load) {
    const double total = std::accumulate(slots.begin(), slots.end(), 0.0);
    const auto fullest =
        static_cast<double>(*std::max_element(slots.begin(), slots.end()));
    sum += fullest * static_cast<double>(slots.size()) / total;
  }
  return record.load.empty() ? 1
                             : sum / static_cast<double>(record.load.size());
}

int64_t dead_experts(const StepRecord& record) {
  int64_t dead = 0;
  for (const std::vector<int64_t>& slots : record.load) {
    dead += std::count(slots.begin(), slots.end(), 0);
  }
  return dead;
}

Trainer::Trainer(Transformer& model, Optimizer& optimizer, data::Loader& loader,
                 const TrainPlan& train, double weight_decay, uint64_t seed,
                 std::optional<double> previous_norm)
    : model_(model),
      optimizer_(optimizer),
      train_(train),
      weight_decay_(weight_decay),
      seed_(seed),
      previous_norm_(previous_norm),
      batches_(loader),
      sequence_length_(loader.sequence_length()) {}

bool Trainer::holds_gradient() const {
  return train_.gradient_accumulation_steps > 1 ||
         (train_.max_grad_norm > 0 && train_.clip == ClipNorm::kWhole);
}

StepRecord Trainer::step(int64_t step) {
  RECORD_USER_SCOPE("step");
  StepRecord record;
  record.step = step;
  record.learning_rate = learning_rate(train_, step);
  squares_.assign(model_.table().size(), 0);
  first_bad_row_.reset();
  router_mean_.clear();
  if (holds_gradient()) {
    step_with_whole_gradient(record);
  } else {
    step_inside_backward(record);
  }
  finish(record);
  return record;
}

Loss Trainer::forward(const data::Batch& batch, int64_t step,
                      int64_t micro_step) {
  RECORD_USER_SCOPE("forward");
  const LossOptions options{
      .router_aux_loss_coef = train_.router_aux_loss_coef,
      .router_z_loss_coef = train_.router_z_loss_coef,
      .tie_break_seed =
          CounterRng(seed_, "train/ties")
              .bits(step * train_.gradient_accumulation_steps + micro_step),
      .gradient_checkpointing = train_.gradient_checkpointing,
      .as_trained = true,
  };
  Loss loss = model_.loss(tokens_of(batch, model_.device()),
                          targets_of(batch, model_.device()), options);
  const double value = loss.total.item<double>();
  if (!std::isfinite(value)) {
    throw VerdictError(fmt::format(
        "training step {}: the loss is {}, expected a finite number; nothing "
        "was updated; try a lower learning_rate or a longer warm-up",
        step, value));
  }
  return loss;
}

namespace {

void add_loss(StepRecord& record, const Loss& loss, double share) {
  record.loss += share * loss.cross_entropy.item<double>();
  if (!loss.aux.defined()) return;
  record.aux_loss += share * loss.aux.item<double>();
  record.z_loss += share * loss.z.item<double>();
  if (record.load.empty()) {
    record.load = loss.load;
    return;
  }
  for (size_t layer = 0; layer < loss.load.size(); ++layer) {
    for (size_t e = 0; e < loss.load[layer].size(); ++e) {
      record.load[layer][e] += loss.load[layer][e];
    }
  }
}

}  // namespace

// The norm of the gradient of a batch, and nothing else.
void Trainer::measure(const data::Batch& batch, int64_t step) {
  const GradientScope scope(model_);
  const Loss loss = forward(batch, step, 0);
  model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    note_squares(row, squares_of(gradient));
  });
  require_finite_gradient(step, /*updated=*/false);
}

void Trainer::step_inside_backward(StepRecord& record) {
  const data::Batch batch = batches_.next(train_.batch_size);
  double scale = 1;
  const bool by_previous =
      train_.clip == ClipNorm::kPreviousNorm && previous_norm_;
  if (by_previous) {
    scale = clip_scale(*previous_norm_);
  } else if (train_.max_grad_norm > 0) {
    measure(batch, record.step);
    scale = clip_scale(norm());
  }
  std::vector<bool> reached(model_.table().size(), false);
  {
    GradientScope scope(model_);
    const Loss loss = forward(batch, record.step, 0);
    add_loss(record, loss, 1);
    router_mean_ = loss.router_mean;
    model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
      reached[row] = true;
      note_squares(row, update(row, gradient, record, scale));
    });
  }
  require_finite_gradient(record.step, /*updated=*/true);
  for (size_t row = 0; row < reached.size(); ++row) {
    if (!reached[row]) update(row, at::Tensor(), record, scale);
  }
}

namespace {

void add_means(std::vector<at::Tensor>& sum,
               const std::vector<at::Tensor>& means, double share) {
  for (size_t layer = 0; layer < means.size(); ++layer) {
    const at::Tensor part = means[layer] * share;
    if (sum.size() <= layer) {
      sum.push_back(part);
    } else {
      sum[layer] += part;
    }
  }
}

void add_gradient(at::Tensor& sum, const at::Tensor& gradient, bool is_only) {
  if (sum.defined()) {
    sum.add_(gradient);
  } else {
    const bool widen = !is_only && gradient.scalar_type() == at::kBFloat16;
    sum = widen ? gradient.to(at::kFloat) : gradient;
  }
}

}  // namespace

void Trainer::step_with_whole_gradient(StepRecord& record) {
  const int64_t passes = train_.gradient_accumulation_steps;
  const double share = 1.0 / static_cast<double>(passes);
  std::vector<at::Tensor> gradients(model_.table().size());
  for (int64_t pass = 0; pass < passes; ++pass) {
    const data::Batch batch = batches_.next(train_.batch_size);
    GradientScope scope(model_);
    const Loss loss = forward(batch, record.step, pass);
    add_loss(record, loss, share);
    add_means(router_mean_, loss.router_mean, share);
    model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
      add_gradient(gradients[row], gradient, passes == 1);
    });
  }
  for (size_t row = 0; row < gradients.size(); ++row) {
    note_squares(row, squares_of(gradients[row]) * share * share);
  }
  require_finite_gradient(record.step, /*updated=*/false);
  const double scale = share * clip_scale(norm());
  for (size_t row = 0; row < gradients.size(); ++row) {
    update(row, gradients[row], record, scale);
    gradients[row].reset();
  }
}

void Trainer::note_squares(size_t row, double squares) {
  squares_[row] = squares;
  if (!std::isfinite(squares) && !first_bad_row_) first_bad_row_ = row;
}

void Trainer::require_finite_gradient(int64_t step, bool updated) const {
  if (!first_bad_row_) return;
  throw VerdictError(fmt::format(
      "training step {}: the gradient of {} is not finite; {}; try a lower "
      "learning_rate, a longer warm-up or max_grad_norm",
      step, model_.table()[*first_bad_row_].name,
      updated
          ? "weights were updated with it inside the backward pass, so this "
            "model is not saved, and --resume goes on from the last state"
          : "nothing was updated"));
}

// Added in the order of the rows, whatever order they came in.
double Trainer::norm() const {
  return std::sqrt(std::accumulate(squares_.begin(), squares_.end(), 0.0));
}

double Trainer::clip_scale(double norm) const {
  const double highest = train_.max_grad_norm;
  return highest > 0 && norm > highest ? highest / norm : 1;
}

double Trainer::update(size_t row, const at::Tensor& gradient,
                       const StepRecord& record, double scale) {
  RECORD_USER_SCOPE("optimizer");
  at::Tensor weight = model_.weight(row).detach();
  return optimizer_.update(model_.table()[row], row, weight, gradient,
                           {.learning_rate = record.learning_rate,
                            .weight_decay = weight_decay_,
                            .gradient_scale = scale,
                            .seed = seed_});
}

void Trainer::finish(StepRecord& record) {
  record.grad_norm = norm();
  if (train_.clip == ClipNorm::kPreviousNorm) {
    previous_norm_ = record.grad_norm;
  }
  record.tokens =
      train_.gradient_accumulation_steps * train_.batch_size * sequence_length_;
  if (train_.router_mean_projection.value_or(false)) {
    project_routers(
        model_, router_mean_,
        CounterRng(seed_, fmt::format("train/projection/{}", record.step)));
  }
}

void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean,
                     const CounterRng& rounding) {
  RECORD_USER_SCOPE("router projection");
  const TensorTable& table = model.table();
  for (size_t layer = 0; layer < router_mean.size(); ++layer) {
    const int64_t row =
        find_row(table, Part::kRouter, static_cast<int64_t>(layer));
    at::Tensor router = model.weight(row).detach();  // [E, D]
    const at::ScalarType arithmetic =
        router.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor mean = router_mean[layer].to(arithmetic);
    const double norm = mean.norm().item<double>();
    if (norm == 0) continue;
    const at::Tensor unit = mean / norm;  // [D]
    const at::Tensor wide = router.to(arithmetic);
    const at::Tensor projected = wide - at::outer(wide.mv(unit), unit);
    if (router.scalar_type() == at::kBFloat16) {
      kernels::round_stochastically(
          projected, CounterRng(rounding.seed(), rounding.bits(layer)),
          kernels::Operand::kWeight, router);
    } else {
      router.copy_(projected);
    }
  }
}

}  // namespace annuli::train
