#include "annuli/train/staged_gradients.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <utility>

#include "annuli/core/error.h"
#include "annuli/train/gradient_exchange.h"
#include "annuli/train/owned_gradients.h"

namespace annuli::train {

StagedGradients::StagedGradients(const Transformer& model,
                                 const RowOwners* owners,
                                 parallel::ProcessGroup& group, Steps steps,
                                 int64_t bucket_bytes)
    : model_(model),
      owners_(owners),
      group_(group),
      steps_(std::move(steps)),
      bucket_bytes_(bucket_bytes),
      stages_(model.table()),
      above_(stages_.size()),
      gradients_(model.table().size()),
      came_(model.table().size(), false) {}

void StagedGradients::add(size_t row, at::Tensor gradient) {
  const size_t stage = stages_.stage(row);
  ANNULI_CHECK(stage < above_, "the gradient of {} after those below it",
               model_.table()[row].name);
  while (above_ > stage + 1) begin_stage(--above_);
  gradients_[row] = std::move(gradient);
  came_[row] = true;
}

void StagedGradients::finish() {
  while (above_ > 0) begin_stage(--above_);
  end_stage();
}

void StagedGradients::begin_stage(size_t stage) {
  end_stage();
  for (const size_t row : stages_.rows(stage)) {
    at::Tensor& gradient = gradients_[row];
    if (!came_[row]) gradient = steps_.rest(row);
    if (!gradient.defined()) continue;
    ANNULI_CHECK(gradient.scalar_type() == model_.dtype(),
                 "the gradient of {} is of another type",
                 model_.table()[row].name);
    gradient = gradient.contiguous();
  }
  going_ = stage;
  begun_ = group_.begin([this, stage](parallel::ProcessGroup& group) {
    sum_stage(stage, group);
  });
}

// Of the gradients those of other stages are not touched.
void StagedGradients::sum_stage(size_t stage, parallel::ProcessGroup& group) {
  RECORD_USER_SCOPE("exchange gradients");
  const at::AutoGradMode without_graph(false);
  const std::vector<size_t>& rows = stages_.rows(stage);
  const PresentRows present = present_rows(rows, gradients_, group);
  if (owners_ == nullptr) {
    sum_gradients(model_, present, gradients_, group, bucket_bytes_);
  } else {
    sum_to_owners(model_, *owners_, rows, present, gradients_, group,
                  bucket_bytes_);
  }
}

void StagedGradients::end_stage() {
  if (!going_) return;
  {
    RECORD_USER_SCOPE("wait for gradients");
    begun_.wait();
  }
  const std::vector<size_t>& rows = stages_.rows(*going_);
  for (const size_t row : rows) {
    at::Tensor sum = std::exchange(gradients_[row], at::Tensor());
    if (is_used_here(row)) steps_.use(row, std::move(sum));
  }
  going_.reset();
  steps_.used(rows);
}

bool StagedGradients::is_used_here(size_t row) const {
  return owners_ == nullptr || owners_->owns(group_.rank(), row);
}

}  // namespace annuli::train
