#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/grow/optimizer_state.h"

// A parent's state, held in parts by several processes, row by row on the
// process that makes the child's row of it. All processes call alike.
namespace annuli::grow {

class StateMover {
 public:
  // Both are borrowed. Tells all processes which parts there are.
  StateMover(const std::vector<TensorState>& parent, const StateOwners& owners);

  // The parent row's state with its parts on the process that owns the child's
  // row, sent if it is another one's, without parts on all others.
  TensorState moved(size_t row, size_t child_row);

  // Whether this process owns the child's row.
  bool makes(size_t child_row) const;
  // Whether its owner got the parent's parts from another process; they are its
  // own then.
  bool was_sent(size_t row, size_t child_row) const;

 private:
  // One part of a row's state; its number is its place in visit_parts.
  struct Shape {
    size_t part = 0;
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> sizes;
  };
  static Json words_of(const TensorState& state);
  static std::vector<Shape> read_words(const Json& words);
  at::Tensor sent(const at::Tensor& part, const Shape& shape, int64_t from,
                  int64_t to);

  const std::vector<TensorState>& parent_;
  const StateOwners& owners_;
  std::vector<std::vector<Shape>> shapes_;  // per row of the parent
};

}  // namespace annuli::grow
