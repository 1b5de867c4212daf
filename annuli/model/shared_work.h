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
// makes passes over one token, for their weights alone. `doing` names the work
// on the live line.
void make_passes(const Transformer& model, parallel::ProcessGroup& group,
                 const char* doing, const std::vector<Pass>& own);

// Of `count` things in equal parts, the number of the first that is process
// `rank`'s; of rank `processes` it is `count`.
inline int64_t first_of(int64_t rank, int64_t processes, int64_t count) {
  return rank * count / processes;
}

// Values of things that are numbered from 0 on, each with one process: all of
// them, by number.
std::vector<double> in_order(parallel::ProcessGroup& group,
                             const std::map<int64_t, double>& own);

// A tensor among numbers that are gathered: its shape and its entries, in fp64.
// It may be on any device; what is taken is on the host, in fp64.
void append_tensor(std::vector<double>& numbers, const at::Tensor& tensor);
at::Tensor take_tensor(const double*& next);

// What the one process gives that gives anything.
std::vector<double> of_holder(parallel::ProcessGroup& group,
                              const std::vector<double>& own);
// The same of tensors, as take_tensor gives them.
std::vector<at::Tensor> tensors_of_holder(parallel::ProcessGroup& group,
                                          const std::vector<at::Tensor>& own);

// The weight of a row that this process owns, as numbers: itself, or what its
// codes say. Not collective, also where processes hold the model in parts.
at::Tensor own_weight(const Transformer& model, size_t row);

// What `measure` says of each row of the model's table. It is asked on the
// process that owns the row (row_owners.h), in the order of the table, with the
// row's weight. `doing` names the work on the live line.
std::vector<std::vector<double>> numbers_of_rows(
    const Transformer& model, parallel::ProcessGroup& group, const char* doing,
    const std::function<
        std::vector<double>(size_t row, const at::Tensor& weight)>& measure);

}  // namespace annuli
