#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "annuli/model/row_owners.h"
#include "annuli/model/row_stages.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/bucket.h"
#include "annuli/parallel/process_group.h"

// The gradients of the last backward pass of a step, which become the sums of
// all processes stage by stage (model/row_stages.h) while the pass goes on: on
// all processes (gradient_exchange.h), or each on the one that owns its row
// (owned_gradients.h).
//
// Rows come stage by stage, from the head down. When the first row of a stage
// comes, the stage above it is complete, and its sums begin; those of the stage
// above that one are waited for, and used. So one stage is under way while the
// next one computes, there are the gradients of about two layers, and what
// `use` keeps.
//
// Memory: what the sums of one stage take, beside the gradients.
namespace annuli::train {

class StagedGradients {
 public:
  struct Steps {
    // What this process has of a row that the pass did not reach; may be
    // undefined.
    std::function<at::Tensor(size_t row)> rest;
    // Receives the sum of each row, or of each that this process owns, once;
    // undefined if no process has the row.
    std::function<void(size_t row, at::Tensor sum)> use;
    // Every process has used its sums of these rows, or is about to.
    std::function<void(const std::vector<size_t>& rows)> used;
  };

  // The model, the owners and the group are borrowed. Without owners all
  // processes have all sums.
  StagedGradients(const Transformer& model, const RowOwners* owners,
                  parallel::ProcessGroup& group, Steps steps,
                  int64_t bucket_bytes = parallel::kBucketBytes);

  void add(size_t row, at::Tensor gradient);
  // After the last row.
  void finish();

 private:
  void begin_stage(size_t stage);
  void sum_stage(size_t stage, parallel::ProcessGroup& group);
  void end_stage();
  bool is_used_here(size_t row) const;

  const Transformer& model_;
  const RowOwners* owners_;
  parallel::ProcessGroup& group_;
  Steps steps_;
  int64_t bucket_bytes_;
  RowStages stages_;
  size_t above_;  // the first stage whose sums have begun
  std::optional<size_t> going_;
  std::vector<at::Tensor> gradients_;
  std::vector<bool> came_;
  parallel::Begun begun_;  // last: it uses the gradients
};

}  // namespace annuli::train
