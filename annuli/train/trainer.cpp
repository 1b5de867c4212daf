#include "annuli/train/trainer.h"

#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/core/stop_request.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/quantize/weight_codes.h"
#include "annuli/model/give_weights.h"
#include "annuli/model/weight_parts.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/router_projection.h"
#include "annuli/train/selection_bias.h"
#include "annuli/train/staged_gradients.h"

namespace annuli::train {
namespace {

// Empty if the loss is finite.
std::string fault_of(const Loss& loss, int64_t step) {
  const double value = loss.total.item<double>();
  if (std::isfinite(value)) return "";
  return fmt::format(
      "training step {}: the loss is {}, expected a finite number; nothing "
      "was updated; try a lower learning_rate or a longer warm-up",
      step, value);
}

void require_finite(const Loss& loss, int64_t step) {
  const std::string fault = fault_of(loss, step);
  if (!fault.empty()) throw VerdictError(fault);
}

double squares_of(const at::Tensor& gradient) {
  RECORD_USER_SCOPE("gradient norm");
  return kernels::squared_norm(gradient);
}

}  // namespace

Trainer::Trainer(Transformer& model, Optimizer& optimizer, data::Loader& loader,
                 const TrainPlan& train, double weight_decay, uint64_t seed,
                 parallel::ProcessGroup& group,
                 std::optional<double> previous_norm, Sharding shard,
                 const std::optional<PlaceInRun>& place, FrozenEntries frozen,
                 FrozenEntries old)
    : model_(model),
      optimizer_(optimizer),
      train_(train),
      place_(place),
      frozen_(std::move(frozen)),
      old_(std::move(old)),
      weight_decay_(weight_decay),
      seed_(seed),
      previous_norm_(previous_norm),
      share_(train, group.rank(), group.size()),
      batches_(loader, share_.windows()),
      norm_(model.table()),
      group_(group),
      exchange_(group, model, train.router_mean_projection.value_or(false)) {
  if (train.selection_bias_rate > 0 && !model.config().selection_bias) {
    user_error(
        "training a phase: selection_bias_rate is {}, but the model has no "
        "selection biases; expected 0, or a mixture with selection_bias: true",
        train.selection_bias_rate);
  }
  if (shard == Sharding::kNone || group.size() == 1) return;
  owners_.emplace(model.table(), group.size());
  ANNULI_CHECK((shard == Sharding::kFull) == (model.parts() != nullptr),
               "the model is held in parts: {}", model.parts() != nullptr);
}

StepRecord Trainer::step(int64_t step, WeightSample* sample) {
  RECORD_USER_SCOPE("step");
  sample_ = sample;
  StepRecord record;
  record.step = step;
  record.learning_rate = learning_rate(train_, step, place_);
  norm_.clear();
  if (owners_) {
    finish(record, step_with_owners(record));
  } else {
    finish(record, holds_gradient(train_) ? step_with_whole_gradient(record)
                                          : step_inside_backward(record));
  }
  return record;
}

bool Trainer::is_updated(size_t row) const {
  return is_trained(model_.table()[row].part) && !frozen_.is_whole(row);
}

bool Trainer::is_own(size_t row) const {
  return !owners_ || owners_->owns(group_.rank(), row);
}

Loss Trainer::forward(const data::Batch& batch, int64_t step, int64_t pass) {
  RECORD_USER_SCOPE("forward");
  const LossOptions options{
      .router_aux_loss_coef = train_.router_aux_loss_coef,
      .router_z_loss_coef = train_.router_z_loss_coef,
      .tie_break_seed = CounterRng(seed_, "train/ties")
                            .bits(step * share_.passes_of_step + pass),
      .gradient_checkpointing = train_.gradient_checkpointing,
      .as_trained = true,
      .stream_squares = sample_ != nullptr,
      .documents = documents_of(batch),
  };
  return model_.loss(tokens_of(batch, model_.device()),
                     targets_of(batch, model_.device()), options);
}

// The norm of the gradient of a batch, and nothing else.
void Trainer::measure(const data::Batch& batch, int64_t step) {
  const GradientScope scope(model_, frozen_.whole_rows());
  const Loss loss = forward(batch, step, 0);
  require_finite(loss, step);
  model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    norm_.note(row, squares_of(gradient));
  });
  norm_.require_finite(step, /*updated=*/false);
}

StepSums Trainer::step_inside_backward(StepRecord& record) {
  const data::Batch batch = batches_.next(0);
  double scale = 1;
  const bool by_previous =
      train_.clip == ClipNorm::kPreviousNorm && previous_norm_;
  if (by_previous) {
    scale = clip_scale(*previous_norm_);
  } else if (train_.max_grad_norm > 0) {
    measure(batch, record.step);
    scale = clip_scale(norm_.value());
  }
  StepSums sums;
  std::vector<bool> reached(model_.table().size(), false);
  {
    GradientScope scope(model_, frozen_.whole_rows());
    const Loss loss = forward(batch, record.step, 0);
    require_finite(loss, record.step);
    sums = sums_of(loss, 1);
    model_.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
      reached[row] = true;
      norm_.note(row, update(row, gradient, record, scale));
    });
  }
  norm_.require_finite(record.step, /*updated=*/true);
  for (size_t row = 0; row < reached.size(); ++row) {
    if (!reached[row]) update(row, at::Tensor(), record, scale);
  }
  record.stop_signal = stop_requested();
  return sums;
}

GradientSums Trainer::sums_of_parts() const {
  return {model_.table().size(), share_.parts, share_.passes_of_part,
          /*widen=*/share_.passes_of_step > 1};
}

StepSums Trainer::step_with_whole_gradient(StepRecord& record) {
  std::vector<at::Tensor> gradients(model_.table().size());
  StepSums sums;
  if (group_.size() == 1) {
    GradientSums of_parts = sums_of_parts();
    sums = run_parts(record.step, of_parts);
    record.stop_signal = stop_requested();
    gradients = of_parts.take();
  } else {
    sums = run_shared(
        record,
        [&](size_t row, at::Tensor sum) { gradients[row] = std::move(sum); },
        [](const std::vector<size_t>&) {});
  }
  const double share = share_.of_pass();
  for (size_t row = 0; row < gradients.size(); ++row) {
    norm_.note(row, squares_of(gradients[row]) * share * share);
  }
  norm_.require_finite(record.step, /*updated=*/false);
  const double scale = share * clip_scale(norm_.value());
  for (size_t row = 0; row < gradients.size(); ++row) {
    update(row, gradients[row], record, scale);
    gradients[row].reset();
  }
  return sums;
}

// The whole gradient of a process' own parts is there only where it has several
// passes.
StepSums Trainer::run_shared(StepRecord& record, Use use, Used used) {
  GradientSums of_parts = sums_of_parts();
  StagedGradients staged(
      model_, owners_ ? &*owners_ : nullptr, group_,
      {.rest = [&](size_t row) { return of_parts.last(row, {}); },
       .use = std::move(use),
       .used = std::move(used)});
  StepSums sums;
  run_parts(record.step, of_parts, [&](StepSums of_all) {
    record.stop_signal = exchange_.sum(record.step, stop_requested(), of_all);
    sums = std::move(of_all);
    return [&](size_t row, const at::Tensor& gradient) {
      staged.add(row, of_parts.last(row, gradient));
    };
  });
  staged.finish();
  return sums;
}

StepSums Trainer::step_with_owners(StepRecord& record) {
  const size_t rows = model_.table().size();
  const double share = share_.of_pass();
  const bool waits = train_.max_grad_norm > 0;
  std::vector<double> squares(rows);
  std::vector<at::Tensor> held(rows);
  std::vector<parallel::Begun> given;
  StepSums sums = run_shared(
      record,
      [&](size_t row, at::Tensor sum) {
        squares[row] = squares_of(sum) * share * share;
        if (waits) {
          held[row] = std::move(sum);
        } else {
          update(row, sum, record, share);
        }
      },
      [&](const std::vector<size_t>& updated) {
        if (!waits) given.push_back(give_updated(updated));
      });
  note_norm_of_owners(squares);
  norm_.require_finite(record.step, /*updated=*/!waits);
  if (waits) {
    update_own(record, share * clip_scale(norm_.value()), held);
    give_all_updated();
  }
  for (parallel::Begun& one : given) one.wait();
  for (size_t row = 0; row < rows; ++row) {
    // Counted, wherever it was made.
    if (!is_own(row) && is_updated(row)) optimizer_.skip(row);
  }
  return sums;
}

void Trainer::note_norm_of_owners(const std::vector<double>& own) {
  const std::vector<double> squares = exchange_.of_owners(own, *owners_);
  for (size_t row = 0; row < squares.size(); ++row) {
    norm_.note(row, squares[row]);
  }
}

// Rows of one stage. Where processes hold the model in parts, a layer's are
// given when they are fetched.
parallel::Begun Trainer::give_updated(const std::vector<size_t>& rows) {
  const bool fetched =
      model_.parts() != nullptr && model_.table()[rows.front()].layer >= 0;
  if (fetched) return {};
  return begin_giving(model_, *owners_, rows, group_);
}

void Trainer::give_all_updated() {
  if (model_.parts() != nullptr) return model_.parts()->give_outside(model_);
  std::vector<size_t> all(model_.table().size());
  std::iota(all.begin(), all.end(), size_t{0});
  begin_giving(model_, *owners_, all, group_).wait();
}

void Trainer::update_own(const StepRecord& record, double scale,
                         std::vector<at::Tensor>& gradients) {
  for (const size_t row : owners_->rows_of(group_.rank())) {
    update(row, gradients[row], record, scale);
    gradients[row].reset();
  }
}

// A failure of this process is one of all, who hear of it when their passes are
// done. Where each pass needs all processes, this one goes on until then.
StepSums Trainer::run_parts(int64_t step, GradientSums& gradients,
                            const LastPass& last) {
  const GradientSink add = [&](size_t row, const at::Tensor& gradient) {
    gradients.add(row, gradient);
  };
  std::vector<StepSums> parts(static_cast<size_t>(share_.parts));
  const auto sum_of_all = [&] {
    return parallel::tree_sum(
        0, share_.parts, [&](int64_t part) { return parts[part]; },
        sum_of_nodes);
  };
  std::string fault;
  for (int64_t i = 0; i < share_.passes(); ++i) {
    const bool is_last = i + 1 == share_.passes();
    const data::Batch batch = batches_.next(i);
    GradientScope scope(model_, frozen_.whole_rows());
    const Loss loss = forward(batch, step, share_.first_pass() + i);
    if (fault.empty()) fault = fault_of(loss, step);
    if (!fault.empty() && (is_last || model_.parts() == nullptr)) {
      exchange_.fail(step, VerdictError(fault));
    }
    StepSums& sums = parts[i / share_.passes_of_part];
    StepSums of_pass = sums_of(loss, share_.of_pass());
    if (i % share_.passes_of_part == 0) {
      sums = std::move(of_pass);
    } else {
      sums.add(of_pass);
    }
    const bool hands_over = last && is_last;
    model_.backward(loss.total, hands_over ? last(sum_of_all()) : add);
    if (!hands_over) gradients.end_pass();
  }
  return last ? StepSums() : sum_of_all();
}

double Trainer::clip_scale(double norm) const {
  const double highest = train_.max_grad_norm;
  return highest > 0 && norm > highest ? highest / norm : 1;
}

// What an update is computed in, of a row that is held as codes.
at::Tensor Trainer::widened(const Transformer& model, size_t row) {
  at::Tensor weight = at::empty(
      model.table()[row].shape(),
      at::TensorOptions().dtype(model.dtype()).device(model.device()));
  kernels::from_codes(model.codes(row), weight);
  return weight;
}

double Trainer::update(size_t row, const at::Tensor& gradient,
                       const StepRecord& record, double scale) {
  RECORD_USER_SCOPE("optimizer");
  const bool is_coded = model_.is_coded(row);
  at::Tensor weight =
      is_coded ? widened(model_, row) : model_.weight(row).detach();
  if (sample_ != nullptr) sample_->before(row, weight);
  if (!is_updated(row)) {
    if (sample_ != nullptr) sample_->after(row, weight);
    return 0;
  }
  const std::vector<at::Tensor> kept = frozen_.copy_of(row, weight);
  const double squares = apply(row, weight, gradient,
                               {.learning_rate = record.learning_rate,
                                .weight_decay = weight_decay_,
                                .gradient_scale = scale,
                                .seed = seed_},
                               share_of_new(train_, record.step));
  frozen_.put_back(row, kept, weight);
  if (is_coded) {
    kernels::CodedMatrix codes = model_.codes(row);
    kernels::to_codes_at_random(
        weight, optimizer_.rounding(model_.table()[row], row, seed_), codes);
    if (sample_ != nullptr) kernels::from_codes(codes, weight);
  }
  if (sample_ != nullptr) sample_->after(row, weight);
  return squares;
}

// An update is proportional to the rate, so that a share of the rate is a share
// of the way.
double Trainer::apply(size_t row, at::Tensor& weight,
                      const at::Tensor& gradient, UpdateSettings settings,
                      double share_of_new) {
  const bool is_all_new = !old_.is_whole(row) && !old_.has_part(row);
  const bool is_mixed = share_of_new < 1 && old_.has_part(row);
  if (is_all_new) settings.learning_rate *= share_of_new;
  const at::Tensor before = is_mixed ? weight.clone() : at::Tensor();
  const double squares =
      optimizer_.update(model_.table()[row], row, weight, gradient, settings);
  if (!is_mixed) return squares;
  const std::vector<at::Tensor> old = old_.copy_of(row, weight);
  weight.sub_(before).mul_(share_of_new).add_(before);
  old_.put_back(row, old, weight);
  return squares;
}

void Trainer::finish(StepRecord& record, StepSums sums) {
  record.loss = sums.loss;
  record.aux_loss = sums.aux_loss;
  record.z_loss = sums.z_loss;
  record.load = std::move(sums.load);
  if (sample_ != nullptr) sample_->note_stream(std::move(sums.stream_squares));
  record.grad_norm = norm_.value();
  if (train_.clip == ClipNorm::kPreviousNorm) {
    previous_norm_ = record.grad_norm;
  }
  record.tokens =
      share_.windows_of_step() * batches_.loader().sequence_length();
  record.epochs = batches_.loader().epochs();
  if (train_.router_mean_projection.value_or(false)) {
    project_routers(
        model_, sums.router_mean,
        CounterRng(seed_, fmt::format("train/projection/{}", record.step)),
        [&](size_t row) {
          const bool is_frozen = frozen_.is_whole(row) || frozen_.has_part(row);
          return !is_frozen && (model_.parts() == nullptr || is_own(row));
        });
  }
  if (train_.selection_bias_rate > 0) move_biases(record);
}

void Trainer::move_biases(const StepRecord& record) {
  std::map<size_t, std::vector<at::Tensor>> kept;
  move_selection_biases(model_, record.load, train_.selection_bias_rate,
                        [&](size_t row) {
                          if (frozen_.is_whole(row)) return false;
                          kept[row] = frozen_.copy_of(row, model_.weight(row));
                          return true;
                        });
  for (const auto& [row, copy] : kept) {
    at::Tensor bias = model_.weight(row).detach();
    frozen_.put_back(row, copy, bias);
  }
}

}  // namespace annuli::train
