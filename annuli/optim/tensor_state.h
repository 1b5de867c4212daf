#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

// What an optimizer remembers of one tensor.
//
// A part that is undefined is zero and not yet allocated. `m` and `v` are
// numbers of the tensor's shape (fp32, fp64, bf16), or 8-bit codes of it with
// one scale for each block (kernels/quantize/block_quantization.h). Adafactor
// keeps v's row and column means instead of v itself. Which parts an optimizer
// has: state_layout.h.
namespace annuli::optim {

struct TensorState {
  at::Tensor m;         // first moment, or sgd's or muon's momentum
  at::Tensor m_scales;  // fp32, of m's blocks, if m is codes
  at::Tensor v;         // second moment
  at::Tensor v_scales;
  at::Tensor v_rows;     // fp32 [rows], Adafactor's factors of v
  at::Tensor v_columns;  // fp32 [columns]
  int64_t step = 0;      // updates so far; bias correction counts from here
  double lr_multiplier = 1;
  double eps_multiplier = 1;
  double weight_decay_multiplier = 1;
  // How often growth has laid the matrix beside and below itself, which only
  // what sees a whole matrix feels: muon.
  int64_t row_copies = 1;
  int64_t column_copies = 1;
};

// Calls visit(name, tensor) for each part, defined or not. The names are those
// of files: "<part>.<tensor>".
template <typename State, typename Visit>
void visit_parts(State& state, const Visit& visit) {
  visit("m", state.m);
  visit("m_scales", state.m_scales);
  visit("v", state.v);
  visit("v_scales", state.v_scales);
  visit("v_rows", state.v_rows);
  visit("v_columns", state.v_columns);
}

// Lets go of all parts; counter and multipliers stay.
void release_parts(TensorState& state);

// The names of all parts, in that order.
std::vector<const char*> part_names();

// The shape of a part, by its name, of a tensor of this shape.
std::vector<int64_t> part_shape(std::string_view part,
                                const std::vector<int64_t>& tensor);

}  // namespace annuli::optim
