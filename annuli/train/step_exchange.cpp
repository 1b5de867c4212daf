#include "annuli/train/step_exchange.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/model/row_stages.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/gradient_exchange.h"
#include "annuli/train/step_share.h"

namespace annuli::train {

namespace {

int highest_signal(const std::vector<StepNote>& notes) {
  int64_t signal = 0;
  for (const StepNote& note : notes) {
    signal = std::max(signal, note.stop_signal);
  }
  return static_cast<int>(signal);
}

}  // namespace

int StepExchange::sum(int64_t step, int stop_signal, StepSums& sums) {
  RECORD_USER_SCOPE("exchange");
  const std::vector<StepNote> notes =
      meet({.step = step, .stop_signal = stop_signal, .sums = sums});
  sum_notes(notes, sums);
  return highest_signal(notes);
}

void StepExchange::sum_notes(const std::vector<StepNote>& notes,
                             StepSums& sums) {
  std::vector<at::Tensor> means = std::move(sums.router_mean);
  sums = parallel::tree_sum(
      0, group_.size(), [&](int64_t rank) { return notes[rank].sums; },
      sum_of_nodes);
  sums.router_mean = std::move(means);
  if (router_means_) sum_router_means(sums.router_mean);
}

std::vector<double> StepExchange::of_owners(const std::vector<double>& own,
                                            const RowOwners& owners) {
  const at::Tensor all = group_.all_gather(at::tensor(own, at::kDouble));
  const auto numbers = all.accessor<const double, 2>();
  std::vector<double> found;
  for (size_t row = 0; row < own.size(); ++row) {
    found.push_back(numbers[owners.owner(row)][static_cast<int64_t>(row)]);
  }
  return found;
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

namespace {

// What a step sends of a model, in entries and bytes.
class StepBytes {
 public:
  StepBytes(const ModelConfig& config, const NumberTypes& numbers,
            const TrainPlan& train, int64_t processes)
      : config_(config),
        train_(train),
        table_(tensor_table(config)),
        others_(processes - 1),
        owners_(table_, processes),
        passes_(StepShare(train, 0, processes).passes()),
        gradient_(static_cast<int64_t>(c10::elementSize(numbers.arithmetic))),
        weight_(static_cast<int64_t>(c10::elementSize(numbers.weights))) {}

  int64_t summed_by_all() const {
    const RowStages stages(table_);
    int64_t gradients = 0;
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      int64_t entries = 0;
      for (const size_t row : stages.rows(stage)) {
        entries += table_[row].trained_entries();
      }
      gradients += gradient_bytes_sent(entries, gradient_, others_ + 1);
    }
    return others_ * (note() + means() + std::ssize(table_)) + gradients;
  }

  // Gradients go to their owners, with which rows there are, and the squares of
  // the rows; weights come back.
  int64_t summed_by_owners(int64_t rank, Sharding shard) const {
    const int64_t rows = std::ssize(table_);
    const int64_t own = owners_.entries_of(rank);
    return others_ * (note() + means() + rows + 8 * rows) +
           (entries() - own) * gradient_ +
           others_ * weight_ *
               (shard == Sharding::kFull ? given_in_passes(rank) : own);
  }

 private:
  int64_t entries() const {
    int64_t sum = 0;
    for (const TensorSpec& spec : table_) sum += spec.trained_entries();
    return sum;
  }

  // Those of the layers before each forward and each backward pass, of the last
  // layer before both; the others once in a step.
  int64_t given_in_passes(int64_t rank) const {
    int64_t sum = 0;
    for (const size_t row : owners_.rows_of(rank)) {
      const TensorSpec& spec = table_[row];
      const bool last = spec.layer + 1 == config_.num_hidden_layers;
      const int64_t times = spec.layer < 0 ? 1 : (last ? passes_ : 2 * passes_);
      sum += spec.trained_entries() * times;
    }
    return sum;
  }

  int64_t experts() const {
    return config_.is_mixture() ? config_.num_experts : 0;
  }
  int64_t note() const {
    return note_bytes(config_.num_hidden_layers, experts());
  }
  int64_t means() const {
    const bool told =
        experts() > 0 && train_.router_mean_projection.value_or(false);
    return told ? config_.num_hidden_layers * config_.hidden_size * gradient_
                : 0;
  }

  const ModelConfig& config_;
  const TrainPlan& train_;
  TensorTable table_;
  int64_t others_;
  RowOwners owners_;
  int64_t passes_;  // of one process
  int64_t gradient_;
  int64_t weight_;
};

}  // namespace

int64_t step_bytes_sent_by(int64_t rank, const ModelConfig& config,
                           const NumberTypes& numbers, const TrainPlan& train,
                           int64_t processes, Sharding shard) {
  if (processes == 1) return 0;
  const StepBytes bytes(config, numbers, train, processes);
  return shard == Sharding::kNone ? bytes.summed_by_all()
                                  : bytes.summed_by_owners(rank, shard);
}

int64_t step_bytes_sent(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes,
                        Sharding shard) {
  int64_t most = 0;
  for (int64_t rank = 0; rank < processes; ++rank) {
    most = std::max(most, step_bytes_sent_by(rank, config, numbers, train,
                                             processes, shard));
  }
  return most;
}

}  // namespace annuli::train
