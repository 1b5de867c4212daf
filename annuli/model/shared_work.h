#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"

// Work on one model that processes divide among them: each does a part of it,
// and what they found is put together in one order, so that the result is that
// of one process that does all of it.
//
// All functions that take a group are collective.
namespace annuli {

// One forward pass through all layers of the model.
using Pass = std::function<void()>;

// Makes the passes that are this process'. Where processes hold the weights in
// parts (weight_parts.h), all of them must make equally many: who has fewer
// makes passes over one token, for their weights alone.
void make_passes(const Transformer& model, parallel::ProcessGroup& group,
                 const std::vector<Pass>& own);

// Of `count` things in equal parts, the number of the first that is process
// `rank`'s; of rank `processes` it is `count`.
inline int64_t first_of(int64_t rank, int64_t processes, int64_t count) {
  return rank * count / processes;
}

// Values of things that are numbered from 0 on, each with one process: all of
// them, by number.
std::vector<double> in_order(parallel::ProcessGroup& group,
                             const std::map<int64_t, double>& own);

// A tensor's entries, row by row, in fp64: for what gathers numbers. On any
// device; they are brought to the host.
std::vector<double> entries_of(const at::Tensor& tensor);

// What the one process gives that gives anything.
std::vector<double> of_holder(parallel::ProcessGroup& group,
                              const std::vector<double>& own);

// What `measure` says of each row of the model's table. It is asked on the
// process that owns the row (row_owners.h), in the order of the table, with the
// row's weight.
std::vector<std::vector<double>> numbers_of_rows(
    const Transformer& model, parallel::ProcessGroup& group,
    const std::function<
        std::vector<double>(size_t row, const at::Tensor& weight)>& measure);

}  // namespace annuli
