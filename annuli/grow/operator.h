#pragma once

#include <cstdint>
#include <string>

#include "annuli/config/model_config.h"
#include "annuli/grow/recipe.h"

// A growth method. It knows its options and, given a parent's config, states
// the child's config and the recipe of every child tensor. It holds no tensors
// and touches none.
namespace annuli::grow {

class Operator {
 public:
  virtual ~Operator() = default;

  virtual std::string name() const = 0;

  // Every random number of the growth follows from `seed`. Throws UserError if
  // this parent cannot be grown so.
  virtual Recipe recipe(const ModelConfig& parent, uint64_t seed) const = 0;
};

}  // namespace annuli::grow
