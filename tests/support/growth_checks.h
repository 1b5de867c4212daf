#pragma once

#include "annuli/grow/grow.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "tests/support/tiny_model.h"

// What tests of growth ask of a parent and its child.
namespace annuli::tiny {

// Another batch for another seed.
at::Tensor growth_probe(const ModelConfig& config, uint64_t seed = 7);

Transformer grown(const Transformer& parent, const grow::Recipe& recipe);

double logit_error(const Transformer& parent, const Transformer& child);

// fp64 has 2.2e-16, times at most some hundred roundings along a path through
// three layers; paired copies with 10 dB noise add terms that are larger than
// their sum, a factor below 10. fp32 has 1.2e-7, and 1e-5 is the program's own
// limit.
double growth_limit(at::ScalarType dtype, bool noise);

// The parent's gradient as the child's tensor must have it.
at::Tensor followed(const grow::TensorRecipe& tensor,
                    const at::Tensor& gradient);

// Largest relative difference, over all tensors, between the child's gradients
// where it holds the parent's entries and the parent's times gradient_scale, as
// the recipe lays them out; fp64, cross-entropy alone. Tensors that start anew
// are left out. Names the worst.
struct GradientError {
  double error = 0;
  std::string tensor;
};
GradientError gradient_error(Transformer& parent, Transformer& child,
                             const grow::Recipe& recipe);

// Written to a folder and read again.
Transformer through_disk(const Transformer& model);

}  // namespace annuli::tiny
