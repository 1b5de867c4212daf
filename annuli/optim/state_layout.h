#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/model/tensor_table.h"
#include "annuli/optim/tensor_state.h"

// Which numbers an optimizer keeps of a weight, in which type.
//
//   adamw        m, v                      state_dtype
//   adamw_8bit   m, v as 8-bit codes with an fp32 scale for each 256 entries;
//                fp32 where the tensor is no matrix or has below 4096 entries
//   adafactor    the mean of v over each row and column, fp32; v itself, fp32,
//                where the tensor is no matrix
//   sgd          m, state_dtype; nothing without momentum
//   muon         m, state_dtype, of matrices of the blocks; else as adamw
//
// Nothing of what has no gradient.
//
// A run in fp64 keeps fp64 wherever fp32 stands here.
namespace annuli::optim {

// Muon's own: a matrix of attention or of a feed-forward. All other tensors
// have AdamW's update.
bool has_orthogonal_update(const OptimizerPlan& plan, const TensorSpec& spec);

// 3 of q, k and v in one tensor, where they stand in turn, head by head; each
// of them is a matrix of its own.
int64_t matrices_in(const TensorSpec& spec);

// Entries of the tensors that the update of one tensor holds at once, in the
// type of the arithmetic: of muon's products (kernels/optim/newton_schulz.h).
std::vector<int64_t> update_entries(const OptimizerPlan& plan,
                                    const TensorSpec& spec);

// Smallest matrix whose moments become codes.
inline constexpr int64_t kLeastCodedEntries = 4096;

struct StatePart {
  const char* name;  // as in visit_parts
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

// weights: the type that the weights are stored in; only fp64 matters.
std::vector<StatePart> state_layout(const OptimizerPlan& plan,
                                    const TensorSpec& spec,
                                    at::ScalarType weights);

// Bytes of the tensors above, for a run in `precision`.
int64_t optimizer_state_bytes(const OptimizerPlan& plan, const TensorSpec& spec,
                              Precision precision);

// Brings a state into the layout: parts that are not there are made (zero),
// parts in another type are converted (codes to numbers and back), parts of
// another optimizer are dropped.
void adopt(TensorState& state, const std::vector<StatePart>& layout,
           at::Device device);

}  // namespace annuli::optim
