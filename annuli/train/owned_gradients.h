#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/row_owners.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/bucket.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/present_rows.h"

namespace annuli::train {

// The sums of all processes' gradients of some rows, each on the process that
// owns its row (model/row_owners.h): the bits of gradient_exchange.h. Each
// process sends its gradients of the rows to their owners, a bucket at a time.
//
// `gradients`: this process' own, contiguous, of the model's type and shapes,
// undefined where absent; then the sums of the own rows, in the same memory.
//
// Memory: what goes of a bucket and what comes; with more than two processes,
// what goes once more as it is sent.
void sum_to_owners(const Transformer& model, const RowOwners& owners,
                   const std::vector<size_t>& rows, const PresentRows& present,
                   std::vector<at::Tensor>& gradients,
                   parallel::ProcessGroup& group,
                   int64_t bucket_bytes = parallel::kBucketBytes);

}  // namespace annuli::train
