#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"

// What the axes of a growth demand of each child tensor, whatever the recipe
// states about that tensor: a recipe with a wrong scale is found out.
namespace annuli::verify {

class Demands {
 public:
  // `recipe` is borrowed.
  explicit Demands(const grow::Recipe& recipe);

  // The child's table, in whose rows all of this is asked.
  const TensorTable& table() const { return table_; }

  // The factor on what the tensor computes. Produced entries are copied and
  // contracted ones average out, so mostly it is 1. Otherwise:
  //
  //   gain over a zero-padded residual   sqrt(kept / size): the mean of squares
  //                                      shrinks by kept / size, eps with it
  //   q and k before a norm of theirs    the same, because their norm has the
  //                                      same eps
  //   final gain, head tied before and   times m / (m' c): c copies of the
  //   after                              residual add up in the logits, of
  //                                      which a multiplier m' takes its part
  //   down of a fine-grained expert      G: each of the G shards that a dense
  //                                      layer was cut in has 1/G of the gates;
  //                                      or sqrt(G), and sqrt(G) on the gated
  //                                      layer's up. (Its bias: 1, the gates
  //                                      add up to 1.)
  //   down of a shared expert that was   2: its gate is zero, sigmoid(0) = 1/2
  //   the dense layer
  double factor(size_t row) const;

  // The factor on each stored entry: that, shared by the contracted copies.
  double entry_factor(size_t row) const;

  // New entries along that dimension have to be 0 for the function to be kept:
  // the residual's new coordinates in what writes to them; new heads and units
  // in what reads them. Nothing is demanded of a growth that is not exact.
  bool new_entries_are_zero(size_t row, size_t dimension) const;

  // Shards that an upcycled dense layer was cut in, G.
  double shards() const { return shards_; }

 private:
  double fold() const;
  double of_expert(const TensorSpec& spec) const;

  const grow::Recipe& recipe_;
  TensorTable table_;
  double residual_share_;
  double shards_ = 1;  // G
  bool up_takes_its_part_ = false;
};

// Relative error, entry by entry, of the parent's value times `factor` in the
// child's stored type: 0 where it is exact. A power of two is, and with it a
// pair of copies with cancelling noise, whose sum is twice the clean value. Not
// in f16, whose smallest weights are subnormal.
double entry_roundoff(double factor, at::ScalarType parent,
                      at::ScalarType child);

}  // namespace annuli::verify
