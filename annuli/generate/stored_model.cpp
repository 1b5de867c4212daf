#include "annuli/generate/stored_model.h"

#include <string>

#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/gemv.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli {
namespace {

bool holds_fp64(const ModelFile& file) {
  for (const TensorEntry& entry : file.entries()) {
    if (entry.dtype == at::kDouble) return true;
  }
  return false;
}

at::ScalarType type_to_read(const TensorSpec& spec, at::ScalarType stored,
                            const StoredModelOptions& options) {
  if (options.dtype) return stored_type(spec, *options.dtype);
  return stored == at::kBFloat16 ? stored : at::kFloat;
}

// The file's own pages where they can be read as they are, else a copy.
at::Tensor weight(const ModelFile& file, const TensorSpec& spec,
                  const StoredModelOptions& options) {
  at::Tensor stored = file.tensor(spec.name);
  const at::ScalarType type = type_to_read(spec, stored.scalar_type(), options);
  const bool in_rows = stored.dim() == 2 ? kernels::is_row_matrix(stored)
                                         : stored.is_contiguous();
  if (in_rows && stored.scalar_type() == type && !options.in_memory) {
    return stored;
  }
  at::Tensor copy = kernels::owned_empty(stored.sizes(), type);
  copy.copy_(stored);
  file.drop_resident();
  return copy;
}

}  // namespace

Transformer load_stored_model(const ModelFile& file,
                              const StoredModelOptions& options) {
  if (options.coded) {
    return load_model(
        file,
        {.dtype = at::kBFloat16, .device = options.device, .coded = true});
  }
  const bool wide =
      options.dtype ? *options.dtype == at::kDouble : holds_fp64(file);
  if (wide || !kernels::is_host(options.device)) {
    return load_model(file, {.dtype = wide ? at::kDouble : at::kFloat,
                             .device = options.device,
                             .mapped = !options.in_memory});
  }
  require_sound(file);
  Transformer model(file.config(), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    model.set_stored_weight(row, weight(file, model.table()[row], options));
  }
  return model;
}

}  // namespace annuli
