#pragma once

#include "annuli/model/tensor_table.h"

// What a tensor of a new model begins with: matrices and tables are drawn from
// normal(0, initializer_range), gains are one, biases zero, selection biases
// too; in every family.
namespace annuli {

enum class FirstValues { kNormal, kOne, kZero };

inline FirstValues first_values(const TensorSpec& spec) {
  if (spec.is_matrix()) return FirstValues::kNormal;
  const bool is_gain = traits_of(spec.part).kind == PartTraits::Kind::kGain;
  return is_gain ? FirstValues::kOne : FirstValues::kZero;
}

}  // namespace annuli
