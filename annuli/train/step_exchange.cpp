#include "annuli/train/step_exchange.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/gradient_exchange.h"

namespace annuli::train {

int StepExchange::sum(int64_t step, int stop_signal, StepSums& sums,
                      std::vector<at::Tensor>& gradients) {
  if (group_.size() == 1) return stop_signal;
  RECORD_USER_SCOPE("exchange");
  StepNote own{.step = step, .stop_signal = stop_signal, .sums = sums};
  for (const at::Tensor& gradient : gradients) {
    own.present.push_back(gradient.defined());
  }
  std::vector<StepNote> notes = meet(own);
  std::vector<at::Tensor> means = std::move(sums.router_mean);
  sums = parallel::tree_sum(
      0, group_.size(), [&](int64_t rank) { return notes[rank].sums; },
      sum_of_nodes);
  sums.router_mean = std::move(means);
  if (router_means_) sum_router_means(sums.router_mean);
  std::vector<std::vector<bool>> present;
  int64_t signal = 0;
  for (StepNote& note : notes) {
    present.push_back(std::move(note.present));
    signal = std::max(signal, note.stop_signal);
  }
  sum_gradients(model_, present, gradients, group_);
  return static_cast<int>(signal);
}

void StepExchange::fail(int64_t step, const VerdictError& error) {
  meet({.step = step, .failure = error.what()});
  throw VerdictError(error);
}

std::vector<StepNote> StepExchange::meet(const StepNote& own) {
  std::vector<StepNote> notes;
  for (const std::string& text : group_.gather(as_text(own))) {
    notes.push_back(read_note(text));
  }
  for (const StepNote& note : notes) {
    ANNULI_CHECK(note.step == own.step, "step {} beside {}", note.step,
                 own.step);
    if (!note.failure.empty()) throw VerdictError(note.failure);
  }
  return notes;
}

void StepExchange::sum_router_means(std::vector<at::Tensor>& means) {
  if (means.empty()) return;
  const at::Tensor all = group_.all_gather(at::stack(means));  // [N, L, D]
  const at::Tensor sum = parallel::tree_sum(
      0, group_.size(), [&](int64_t rank) { return all[rank]; },
      [](const at::Tensor& a, const at::Tensor& b) { return a + b; });
  for (size_t layer = 0; layer < means.size(); ++layer) {
    means[layer] = sum[static_cast<int64_t>(layer)];
  }
}

int64_t step_bytes_sent(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes) {
  if (processes == 1) return 0;
  const TensorTable table = tensor_table(config);
  int64_t entries = 0;
  for (const TensorSpec& spec : table) entries += spec.numel();
  const int64_t experts = config.is_mixture() ? config.num_experts : 0;
  const auto entry = static_cast<int64_t>(c10::elementSize(numbers.arithmetic));
  const int64_t note =
      note_bytes(std::ssize(table), config.num_hidden_layers, experts);
  const bool means =
      experts > 0 && train.router_mean_projection.value_or(false);
  const int64_t mean_bytes =
      means ? config.num_hidden_layers * config.hidden_size * entry : 0;
  return (processes - 1) * (note + mean_bytes) +
         gradient_bytes_sent(entries, entry, processes);
}

}  // namespace annuli::train
