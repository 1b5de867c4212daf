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
#include "annuli/train/batch_tensors.h"
#include "annuli/train/schedule.h"

namespace annuli::train {
namespace {

// Summed in fp64, so that the order of a tensor's elements hardly matters.
double squared_norm(const at::Tensor& gradient) {
  const double norm = gradient.norm().item<double>();
  return norm * norm;
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
                 const TrainPlan& train, double weight_decay, uint64_t seed)
    : model_(model),
      optimizer_(optimizer),
      loader_(loader),
      train_(train),
      weight_decay_(weight_decay),
      seed_(seed) {}

StepRecord Trainer::step(int64_t step) {
  RECORD_USER_SCOPE("step");
  StepRecord record;
  record.step = step;
  record.learning_rate = learning_rate(train_, step);
  squared_norm_ = 0;
  router_squares_.assign(
      model_.config().is_mixture() ? model_.config().num_hidden_layers : 0, 0);
  router_mean_.clear();
  const bool needs_whole_gradient =
      train_.max_grad_norm > 0 || train_.gradient_accumulation_steps > 1;
  if (needs_whole_gradient) {
    step_with_whole_gradient(record);
  } else {
    step_inside_backward(record);
  }
  finish(record);
  return record;
}

Loss Trainer::forward(int64_t step, int64_t micro_step) {
  RECORD_USER_SCOPE("forward");
  const data::Batch batch = loader_.next(train_.batch_size);
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

void Trainer::step_inside_backward(StepRecord& record) {
  std::vector<bool> reached(model_.table().size(), false);
  {
    GradientScope scope(model_);
    const Loss loss = forward(record.step, 0);
    add_loss(record, loss, 1);
    router_mean_ = loss.router_mean;
    model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
      reached[row] = true;
      note_gradient(row, gradient, 1);
      update(row, gradient, record.learning_rate, 1);
    });
  }
  for (size_t row = 0; row < reached.size(); ++row) {
    if (!reached[row]) update(row, at::Tensor(), record.learning_rate, 1);
  }
}

void Trainer::step_with_whole_gradient(StepRecord& record) {
  const int64_t passes = train_.gradient_accumulation_steps;
  const double share = 1.0 / static_cast<double>(passes);
  std::vector<at::Tensor> gradients(model_.table().size());
  for (int64_t pass = 0; pass < passes; ++pass) {
    GradientScope scope(model_);
    const Loss loss = forward(record.step, pass);
    add_loss(record, loss, share);
    for (size_t l = 0; l < loss.router_mean.size(); ++l) {
      if (pass == 0) {
        router_mean_.push_back(loss.router_mean[l] * share);
      } else {
        router_mean_[l] += loss.router_mean[l] * share;
      }
    }
    model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
      if (gradients[row].defined()) {
        gradients[row].add_(gradient);
      } else {
        gradients[row] = gradient;
      }
    });
  }
  for (size_t row = 0; row < gradients.size(); ++row) {
    if (gradients[row].defined()) note_gradient(row, gradients[row], share);
  }
  double scale = share;
  const double norm = std::sqrt(squared_norm_);
  if (train_.max_grad_norm > 0 && norm > train_.max_grad_norm) {
    scale *= train_.max_grad_norm / norm;
  }
  for (size_t row = 0; row < gradients.size(); ++row) {
    update(row, gradients[row], record.learning_rate, scale);
    gradients[row].reset();
  }
}

void Trainer::note_gradient(size_t row, const at::Tensor& gradient,
                            double scale) {
  RECORD_USER_SCOPE("gradient norm");
  const double squares = squared_norm(gradient) * scale * scale;
  squared_norm_ += squares;
  const TensorSpec& spec = model_.table()[row];
  if (spec.part == Part::kRouter) router_squares_[spec.layer] = squares;
}

void Trainer::update(size_t row, const at::Tensor& gradient, double rate,
                     double scale) {
  RECORD_USER_SCOPE("optimizer");
  at::Tensor weight = model_.weight(row).detach();
  optimizer_.update(model_.table()[row], row, weight, gradient, rate,
                    weight_decay_, scale);
}

void Trainer::finish(StepRecord& record) {
  record.grad_norm = std::sqrt(squared_norm_);
  for (double squares : router_squares_) {
    record.router_grad_norm.push_back(std::sqrt(squares));
  }
  record.tokens = train_.gradient_accumulation_steps * train_.batch_size *
                  loader_.sequence_length();
  if (train_.router_mean_projection.value_or(false)) {
    project_routers(model_, router_mean_);
  }
}

void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean) {
  RECORD_USER_SCOPE("router projection");
  const TensorTable& table = model.table();
  for (size_t layer = 0; layer < router_mean.size(); ++layer) {
    const int64_t row =
        find_row(table, Part::kRouter, static_cast<int64_t>(layer));
    const at::Tensor& mean = router_mean[layer];
    const double norm = mean.norm().item<double>();
    if (norm == 0) continue;
    const at::Tensor unit = mean / norm;             // [D]
    at::Tensor router = model.weight(row).detach();  // [E, D]
    router.sub_(at::outer(router.mv(unit), unit));
  }
}

}  // namespace annuli::train
