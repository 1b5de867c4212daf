#include "tests/support/growth_checks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/apply.h"

namespace annuli::tiny {

at::Tensor growth_probe(const ModelConfig& config, uint64_t seed) {
  return tokens(2, 12, config.vocab_size, seed);
}

Transformer grown(const Transformer& parent, const grow::Recipe& recipe) {
  return grow::grow(clone(parent), recipe);
}

double logit_error(const Transformer& parent, const Transformer& child) {
  const at::Tensor tokens = growth_probe(parent.config());
  return relative_error(parent.logits(tokens), child.logits(tokens));
}

double growth_limit(at::ScalarType dtype, bool noise) {
  if (dtype == at::kFloat) return 1e-5;
  return noise ? 1e-12 : 1e-13;
}

at::Tensor followed(const grow::TensorRecipe& tensor,
                    const at::Tensor& gradient) {
  return grow::apply(grow::bare_copy(tensor, tensor.gradient_scale), gradient,
                     0, at::kDouble);
}

GradientError gradient_error(Transformer& parent, Transformer& child,
                             const grow::Recipe& recipe) {
  const at::Tensor inputs = growth_probe(parent.config());
  const at::Tensor targets = growth_probe(parent.config(), 8);
  const auto of_parent = gradients(parent, inputs, targets);
  const auto of_child = gradients(child, inputs, targets);
  GradientError worst;
  for (size_t row = 0; row < of_child.size(); ++row) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    if (tensor.source != grow::Source::kParent || !tensor.carry_state) continue;
    const int64_t from = find_row(parent.table(), tensor.parent);
    // An expert without tokens, or a selection bias.
    if (!of_parent[from].defined()) continue;
    const at::Tensor kept =
        grow::apply(grow::bare_copy(tensor, /*scale=*/1),
                    at::ones_like(of_parent[from]), 0, at::kDouble);
    const double error =
        relative_error(followed(tensor, of_parent[from]), of_child[row] * kept);
    if (error > worst.error) worst = {error, tensor.child};
  }
  return worst;
}

Transformer through_disk(const Transformer& model) {
  const test::TestFolder folder;
  save_folder(model, folder.path());
  return load_model(folder.path());
}

}  // namespace annuli::tiny
