#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/grow/transforms/transform.h"

namespace annuli::grow {

// Drop-Upcycling: this share of the entries of one dimension is drawn anew,
// normal with the mean and deviation of what stood there. One stream, and so
// one index set, for gate, up and down of an expert; the numbers are of the
// line's stream.
//
// In a chain it is stated with what follows. State starts anew: what was drawn
// has no history. The audit leaves the drawn units out of its sketches and asks
// that they are not the parent's (verify/drawn_anew.h).
class Drop : public Transform {
 public:
  static constexpr const char* kName = "drop";

  Drop(double share, int64_t of_dimension, uint64_t units)
      : ratio(share), dimension(of_dimension), stream(units) {}

  const double ratio;
  const int64_t dimension;
  const uint64_t stream;

  const char* name() const override { return kName; }
  std::string in_words() const override;
  std::unique_ptr<const RowSource> on_rows(
      std::unique_ptr<const RowSource> rows,
      const RowContext& context) const override;
  bool carries_state() const override;
  bool changes_layer(const TensorRecipe& line) const override;

  static void write(const Drop* stated, Json& line);
  static TransformPtr read(const Json& line);
};

// Which of `size` units are drawn anew, ascending: round(ratio * size) of them.
// Follows from seed and drop.stream alone, so that gate, up and down of an
// expert drop the same ones.
std::vector<int64_t> dropped_units(const Drop& drop, int64_t size,
                                   uint64_t seed);

// Draws them anew in `child` (CPU, contiguous, vector or matrix): normal, with
// the mean and deviation over all that stood in them. `stream`: of the numbers.
void drop_units(at::Tensor& child, const Drop& drop, uint64_t seed,
                uint64_t stream);

}  // namespace annuli::grow
