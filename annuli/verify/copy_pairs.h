#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "annuli/grow/recipe.h"

// The copies that a recipe made of a parent tensor, in pairs.
namespace annuli::verify {

// Views of copies 2i and 2i + 1 of every slice along `dimension`, wherever they
// lie (copies of heads may alternate); an odd last copy, a slice that was not
// copied and new entries give nothing.
std::vector<std::pair<at::Tensor, at::Tensor>> copy_pairs(
    const at::Tensor& tensor, const grow::DimensionRecipe& recipe,
    int64_t dimension);

// Sums over the pairs, in fp64.
struct PairPower {
  double sum = 0;         // of ||a + b||^2
  double difference = 0;  // of ||a - b||^2
};
PairPower pair_power(const at::Tensor& matrix,
                     const grow::DimensionRecipe& recipe, int64_t dimension);

// sqrt(sum ||a - b||^2 / sum ||a + b||^2) over pairs of rows; 0 without pairs.
double antisymmetric_share(const at::Tensor& matrix,
                           const grow::TensorRecipe& recipe);

// Of the differences between paired rows: the largest singular value, in units
// of what entries without structure would have. (A random P x C matrix of
// entries of deviation s has spectral norm s (sqrt(P) + sqrt(C)), to a few
// percent.) 0 if there is no difference.
double difference_structure(const at::Tensor& matrix,
                            const grow::TensorRecipe& recipe);

// Ascending, one for each of the smaller dimension, in fp64.
at::Tensor squared_singular_values(const at::Tensor& matrix);

// A matrix whose rows were copied and whose columns carry (or could carry)
// noise: q, k, v, o, gate, up, down of a widened model. (The copies of a row
// may also lie in several shards; then there is nothing to pair here.)
bool is_grown_matrix(const grow::TensorRecipe& recipe);

}  // namespace annuli::verify
