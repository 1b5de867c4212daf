#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "annuli/model/tensor_table.h"

namespace annuli::train {

// The norm of a step's gradient, from the sums of squares of its rows. They may
// come in any order: they are added in that of the table.
class GradientNorm {
 public:
  // The table is borrowed.
  explicit GradientNorm(const TensorTable& table);

  void clear();  // before a step

  // A row's sum of squares; it takes the place of one noted before.
  void note(size_t row, double squares);

  // VerdictError that names the first row noted with squares that are not
  // finite. `updated`: weights were updated with it by now.
  void require_finite(int64_t step, bool updated) const;

  double value() const;

 private:
  const TensorTable& table_;
  std::vector<double> squares_;
  std::optional<size_t> first_bad_row_;
};

}  // namespace annuli::train
