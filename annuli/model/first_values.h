#pragma once

#include "annuli/model/tensor_table.h"

// What a tensor of a new model begins with: matrices and tables are drawn from
// normal(0, initializer_range), gains are one, biases zero; in every family.
namespace annuli {

enum class FirstValues { kNormal, kOne, kZero };

inline FirstValues first_values(const TensorSpec& spec) {
  if (spec.is_matrix()) return FirstValues::kNormal;
  return is_bias(spec.part) ? FirstValues::kZero : FirstValues::kOne;
}

}  // namespace annuli
