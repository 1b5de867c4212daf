#include "annuli/optim/tensor_state.h"

#include "annuli/kernels/quantize/block_quantization.h"

namespace annuli::optim {

void release_parts(TensorState& state) {
  visit_parts(state, [](const char*, at::Tensor& part) { part.reset(); });
}

std::vector<const char*> part_names() {
  std::vector<const char*> names;
  const TensorState none;
  visit_parts(none, [&](const char* name, const at::Tensor&) {
    names.push_back(name);
  });
  return names;
}

std::vector<int64_t> part_shape(std::string_view part,
                                const std::vector<int64_t>& tensor) {
  if (part == "m" || part == "v") return tensor;
  if (part == "v_rows") return {tensor.front()};
  if (part == "v_columns") return {tensor.back()};
  int64_t entries = 1;
  for (const int64_t size : tensor) entries *= size;
  return {kernels::quantized_blocks(entries)};
}

}  // namespace annuli::optim
