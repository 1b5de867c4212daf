#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "annuli/model/row_owners.h"
#include "annuli/model/row_stages.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/gradient_exchange.h"

// The sums of all processes' gradients, each on the process that owns its row
// (model/row_owners.h), as the last backward pass of a step gives them: the
// bits of gradient_exchange.h.
//
// Rows come stage by stage, from the head down. When the first row of a stage
// comes, the stages above it are complete: each process sends its gradients of
// a stage's rows to their owners, who sum them, and frees them. So there are
// the gradients of about one layer, and what `use` keeps.
//
// Memory: up to three buckets beside them: what goes, the same as it is sent,
// and what comes.
namespace annuli::train {

class OwnedGradients {
 public:
  // What this process has of a row that the pass did not reach; may be
  // undefined.
  using Rest = std::function<at::Tensor(size_t row)>;
  // Receives the sum of each row that this process owns, once; undefined if no
  // process has the row.
  using Use = std::function<void(size_t row, at::Tensor sum)>;

  // The model, the owners and the group are borrowed.
  OwnedGradients(const Transformer& model, const RowOwners& owners,
                 parallel::ProcessGroup& group, Rest rest, Use use,
                 int64_t bucket_bytes = kBucketBytes);

  void add(size_t row, at::Tensor gradient);
  // After the last row.
  void finish();

 private:
  void sum_stage(size_t stage);
  std::vector<std::string> present_of(const std::vector<size_t>& rows);
  void sum_rows(const std::vector<size_t>& rows,
                const std::vector<std::string>& present);

  const Transformer& model_;
  const RowOwners& owners_;
  parallel::ProcessGroup& group_;
  Rest rest_;
  Use use_;
  int64_t bucket_bytes_;
  RowStages stages_;
  size_t above_;  // the first stage that is summed
  std::vector<at::Tensor> gradients_;
  std::vector<bool> came_;
};

}  // namespace annuli::train
