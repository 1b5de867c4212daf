#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

// The gradients of a step's passes, summed: within a part one pass after the
// other, the parts as the binary tree of parallel/sum_tree.h.
//
// State: a stack of sets of gradients, one tensor for each row of the model's
// table. The last set is the sum of the part at hand; those before it are nodes
// of the tree that wait for the parts that follow them.
//
// Memory: in the last pass of a part, a row's gradient goes into the part's sum
// and at once into the waiting nodes that it completes, and what was taken in
// is freed, row by row, inside the backward pass. So two parts hold one set,
// as two passes of one part do.
//
// Corner cases: a row that no pass of a part reached is absent, and absent + x
// is x (0 + x is not, where x is -0). A row comes once in a pass. With `widen`
// gradients in bf16 are summed in fp32: sums of many passes would lose what is
// below 2^-9 of them.
namespace annuli::train {

// In the memory of `first`, if it is there; undefined if neither is.
at::Tensor sum_of_present(at::Tensor first, const at::Tensor& next);

class GradientSums {
 public:
  // `parts` of `passes` each.
  GradientSums(size_t rows, int64_t parts, int64_t passes, bool widen);

  // A row's gradient in the pass at hand.
  void add(size_t row, const at::Tensor& gradient);
  void end_pass();

  // Of the last pass of all, in place of `add`: the row's sum over all parts,
  // which is kept here no more. Undefined `gradient`: the pass did not reach
  // the row. After it, `end_pass` and `take` are not called.
  at::Tensor last(size_t row, const at::Tensor& gradient);

  // After the last pass, the sums of all; undefined where a row is absent.
  std::vector<at::Tensor> take();

 private:
  bool is_last_of_part() const { return pass_ + 1 == passes_; }
  at::Tensor with_pass(size_t row, const at::Tensor& gradient);
  at::Tensor with_nodes(size_t row, at::Tensor sum, size_t& set);
  void complete(size_t row, at::Tensor sum);

  int64_t parts_;
  int64_t passes_;
  bool widen_;
  int64_t part_ = 0;
  int64_t pass_ = 0;
  std::vector<std::vector<at::Tensor>> sets_;
  std::vector<bool> reached_;  // in the pass at hand
};

// How many sets are there, at most, while a pass of GradientSums runs.
int64_t sets_beside_pass(int64_t parts, int64_t passes);

}  // namespace annuli::train
