#pragma once

#include <functional>
#include <string>

#include "annuli/core/file.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"

// Models on disk for tests, in any stored type.
namespace annuli::tiny {

// config.json and model.safetensors; weights rounded to `dtype`.
void save_as(const Transformer& model, const fs::path& folder,
             at::ScalarType dtype);

// What the recipe makes of the model, tensor by tensor, stored as `dtype`.
// `change` may alter a tensor on its way.
using Change = std::function<void(const TensorSpec& spec, at::Tensor& value)>;
void save_grown(const Transformer& parent, const grow::Recipe& recipe,
                const fs::path& folder, at::ScalarType dtype,
                const Change& change = {});

}  // namespace annuli::tiny
