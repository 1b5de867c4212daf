#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/number_types.h"

// What a growth step holds, moment by moment: run/growth_step.cpp in numbers.
// Everything is counted that is alive, weights and optimizer state included. Of
// processes that hold parts of the state, or of the weights too
// (parallel.shard), in the one that has most.
namespace annuli::budget {

// One moment and the bytes alive in it, without the program itself.
struct Moment {
  std::string name;  // "grow the weights"
  int64_t bytes = 0;
};

struct GrowthShape {
  const Plan& plan;
  const grow::Recipe& recipe;
  NumberTypes numbers;
  int64_t holders = 1;            // processes that hold the state in parts
  bool weights_in_parts = false;  // by the same
};

std::vector<Moment> growth_moments(const GrowthShape& shape);

// After the phase that the growth began.
Moment phase_proof(const GrowthShape& shape);

// Bytes of a model's weights, and of its optimizer's state; of the holder that
// has most of it.
int64_t weight_bytes(const ModelConfig& config, const NumberTypes& numbers);
// Where weights are held as codes: those of a layer, widened for its block's
// pass, and of a matrix, widened for its update. 0 where they are not.
int64_t widened_layer(const ModelConfig& config, const NumberTypes& numbers);
int64_t widened_update(const ModelConfig& config, const NumberTypes& numbers);
// `frozen`: rows that have no state; empty: all have.
int64_t state_bytes(const ModelConfig& config, const Plan& plan,
                    int64_t holders = 1, const std::vector<bool>& frozen = {});

}  // namespace annuli::budget
