#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/transformer.h"
#include "annuli/parallel/bucket.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/present_rows.h"

// The sums of all processes' gradients, on every process, with the same bits:
// each row is the tree (parallel/sum_tree.h) over the processes that have it.
// What is absent on one is not sent as a zero: absent + x is x.
//
// All entries of the rows that any process has are laid end to end, the last
// row first, as the backward pass gives them, and cut into buckets of equal
// size, which may cut a row. Of each bucket every process gets an N-th of all
// processes' (all_to_all), sums it, and gives the sum to all (all_gather).
//
// Memory: three buckets beside the gradients, whose memory the sums take.
namespace annuli::train {

// Of the rows that any process has: others are not touched. `gradients`: this
// process' own, contiguous, of the model's type and shapes, undefined where
// absent; then the sums.
void sum_gradients(const Transformer& model, const PresentRows& present,
                   std::vector<at::Tensor>& gradients,
                   parallel::ProcessGroup& group,
                   int64_t bucket_bytes = parallel::kBucketBytes);

// What each of N processes sends so, of rows with so many entries together.
int64_t gradient_bytes_sent(int64_t entries, int64_t entry_bytes,
                            int64_t processes);

}  // namespace annuli::train
