#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

#include "annuli/gguf/architecture.h"
#include "annuli/model/tensor_table.h"

// How llama.cpp calls the tensors of a table and in which order it has their
// rows: what writing (model_tensors.h) and reading (stored_model.h) share.
namespace annuli::gguf {

// The heads' factors of llama3's scaling, and the head where it is stored.
inline constexpr std::string_view kRopeFactors = "rope_freqs.weight";
inline constexpr std::string_view kHead = "output.weight";

// In a layer "blk.N." stands before it; ".weight" or ".bias" follow.
std::string_view name_of(Part part);

// All of it. The experts of a layer have one name: they are one tensor
// [E, F, D].
std::string name_of(const TensorSpec& spec);

// Whether the rows stand in another order there.
bool is_reordered(Part part, const Architecture& architecture);

// A tensor of the table in llama.cpp's order of rows, and back: q and k of
// families whose positions turn neighbours have the halves of each head put
// together entry by entry; a fused q, k, v [H, 3, head_dim] is [3, H,
// head_dim].
at::Tensor in_order(const at::Tensor& tensor, Part part,
                    const Architecture& architecture, int64_t head_dim);
at::Tensor out_of_order(const at::Tensor& tensor, Part part,
                        const Architecture& architecture, int64_t head_dim);

// What llama3's scaling divides the frequencies by, one for each pair of a
// head, in fp32.
at::Tensor rope_factors(const ModelConfig& config);

}  // namespace annuli::gguf
