#include "tests/support/model_folder.h"

#include <stdlib.h>

#include <stdexcept>
#include <system_error>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/json.h"
#include "annuli/grow/apply.h"

namespace annuli::tiny {
namespace {

void write_folder(const fs::path& folder, const ModelConfig& config,
                  const std::vector<NamedTensor>& tensors) {
  fs::create_directories(folder);
  write_safetensors(folder / "model.safetensors", tensors);
  write_json(folder / "config.json", to_json(config));
}

}  // namespace

void save_as(const Transformer& model, const fs::path& folder,
             at::ScalarType dtype) {
  std::vector<NamedTensor> tensors;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    tensors.push_back(
        {spec.name, model.weight(row).to(stored_type(spec, dtype))});
  }
  write_folder(folder, model.config(), tensors);
}

void save_grown(const Transformer& parent, const grow::Recipe& recipe,
                const fs::path& folder, at::ScalarType dtype,
                const Change& change) {
  const TensorTable table = tensor_table(recipe.child);
  std::vector<NamedTensor> tensors;
  for (size_t row = 0; row < table.size(); ++row) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    const at::ScalarType type = stored_type(table[row], dtype);
    const at::Tensor source = tensor.source == grow::Source::kParent
                                  ? parent.weight(tensor.parent).to(type)
                                  : at::Tensor();
    at::Tensor value = grow::apply(tensor, source, recipe.seed, type);
    if (change) change(table[row], value);
    tensors.push_back({table[row].name, value});
  }
  write_folder(folder, recipe.child, tensors);
}

}  // namespace annuli::tiny
