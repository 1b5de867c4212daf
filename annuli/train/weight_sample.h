#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/copy_family.h"
#include "annuli/train/step_record.h"

// What a step does to the weights, from a sample of rows of each matrix of the
// blocks (attention's and the feed-forward's; no router, no gain): its size,
// their norms by layer, and how far copies that growth made have parted.
//
// The sample is a function of the tensor table and of the growth that the phase
// began with: every n-th row, n odd, about 1024 entries of a matrix and at
// least two rows; where the growth copied, every n-th of the parent's rows with
// all its copies (copy_family.h), and 256 entries where these are in other
// tensors. Each matrix counts with its size.
//
// State: which rows; during a step what was seen of them, kept of tensors that
// are compared with others until `take`.
namespace annuli::train {

class WeightSample {
 public:
  // The table is borrowed. `growth`: the one that the phase began with, or
  // null.
  WeightSample(const TensorTable& table, const grow::Recipe* growth);

  // A row's weight before its update and after it, on any device. Every matrix
  // that this process updates must be seen.
  void before(size_t row, const at::Tensor& weight);
  void after(size_t row, const at::Tensor& weight);
  void note_stream(std::vector<double> squares) {
    stream_squares_ = std::move(squares);
  }

  // Of the step that was seen. Collective: of several processes each gives the
  // matrices that it owns (model/row_owners.h), and the result is that of one.
  StepMeasures take(const Transformer& model, parallel::ProcessGroup& group);

  // Of the weights as they are: no update, no stream. Collective.
  StepMeasures of_weights(const Transformer& model,
                          parallel::ProcessGroup& group);

 private:
  struct Row {
    int64_t family = -1;
    int64_t place = 0;  // in the family
    std::vector<int64_t> rows;
    at::Tensor index;  // the same
    at::Tensor before;
    // Sums of squares of what is looked at and of its change; then of a family
    // of one its shares, of a larger one the entries themselves and changes.
    std::vector<double> seen;
  };

  bool is_seen(size_t row) const { return !rows_[row].rows.empty(); }
  void add_families(const grow::Recipe& growth);
  at::Tensor pick(Row& row, const at::Tensor& weight) const;
  CopyShare share_of(size_t family,
                     const std::vector<std::vector<double>>& seen,
                     bool of_change) const;
  std::optional<double> apart(const std::vector<std::vector<double>>& seen,
                              bool of_change) const;

  const TensorTable& table_;
  std::vector<Row> rows_;  // of the table
  std::vector<CopyFamily> families_;
  std::vector<std::vector<size_t>> members_;  // rows of each family
  std::vector<double> stream_squares_;
};

// Whether a step is measured: steps 1, 2, 4, 8 ... and every `measure_steps`-th
// of a phase, and those that are evaluated; none if `measure_steps` is 0.
bool is_measured(int64_t step, int64_t measure_steps, int64_t eval_steps);

}  // namespace annuli::train
