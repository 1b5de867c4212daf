#include "annuli/gguf/tensor_names.h"

#include <fmt/core.h>

#include "annuli/core/error.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli::gguf {
// In a layer "blk.N." stands before it; ".weight" or ".bias" follow.
std::string_view name_of(Part part) {
  switch (part) {
    case Part::kEmbedding:
      return "token_embd";
    case Part::kInputNorm:
    case Part::kInputNormBias:
      return "attn_norm";
    case Part::kQ:
    case Part::kQBias:
      return "attn_q";
    case Part::kK:
    case Part::kKBias:
      return "attn_k";
    case Part::kV:
    case Part::kVBias:
      return "attn_v";
    case Part::kQkv:
    case Part::kQkvBias:
      return "attn_qkv";
    case Part::kQNorm:
      return "attn_q_norm";
    case Part::kKNorm:
      return "attn_k_norm";
    case Part::kO:
    case Part::kOBias:
      return "attn_output";
    case Part::kAttentionOutNorm:
      return "post_attention_norm";
    case Part::kPostNorm:
    case Part::kPostNormBias:
      return "ffn_norm";
    case Part::kRouter:
      return "ffn_gate_inp";
    case Part::kSharedGate:
      return "ffn_gate_inp_shexp";
    case Part::kGate:
    case Part::kGateBias:
      return "ffn_gate";
    case Part::kUp:
    case Part::kUpBias:
      return "ffn_up";
    case Part::kDown:
    case Part::kDownBias:
      return "ffn_down";
    case Part::kFeedForwardOutNorm:
      return "post_ffw_norm";
    case Part::kFinalNorm:
    case Part::kFinalNormBias:
      return "output_norm";
    case Part::kHead:
      return "output";
    default:
      break;
  }
  ANNULI_CHECK(false, "no name in GGUF for {}", to_string(part));
  return "";
}

std::string name_of(const TensorSpec& spec) {
  std::string name = spec.layer >= 0 ? fmt::format("blk.{}.", spec.layer) : "";
  name += name_of(spec.part);
  if (spec.expert == kSharedExpert) name += "_shexp";
  if (spec.expert >= 0) name += "_exps";
  return name + (is_bias(spec.part) ? ".bias" : ".weight");
}

namespace {

// The sizes of `rows` with its first dimension cut into several.
std::vector<int64_t> cut(const at::Tensor& rows, std::vector<int64_t> first) {
  for (int64_t i = 1; i < rows.dim(); ++i) first.push_back(rows.size(i));
  return first;
}

// [heads * head_dim, ...]: of each head the entries i and i + head_dim / 2,
// which are turned together, become neighbours.
at::Tensor with_neighbours(const at::Tensor& rows, int64_t head_dim) {
  return rows.reshape(cut(rows, {rows.size(0) / head_dim, 2, head_dim / 2}))
      .transpose(1, 2)
      .reshape(rows.sizes());
}

at::Tensor without_neighbours(const at::Tensor& rows, int64_t head_dim) {
  return rows.reshape(cut(rows, {rows.size(0) / head_dim, head_dim / 2, 2}))
      .transpose(1, 2)
      .reshape(rows.sizes());
}

// [H, 3, head_dim, ...] -> [3, H, head_dim, ...]
at::Tensor by_kind(const at::Tensor& rows, int64_t head_dim) {
  return rows.reshape(cut(rows, {rows.size(0) / (3 * head_dim), 3, head_dim}))
      .transpose(0, 1)
      .reshape(rows.sizes());
}

at::Tensor by_head(const at::Tensor& rows, int64_t head_dim) {
  return rows.reshape(cut(rows, {3, rows.size(0) / (3 * head_dim), head_dim}))
      .transpose(0, 1)
      .reshape(rows.sizes());
}

bool is_q_or_k(Part part) {
  return part == Part::kQ || part == Part::kQBias || part == Part::kK ||
         part == Part::kKBias;
}

bool is_fused(Part part) {
  return part == Part::kQkv || part == Part::kQkvBias;
}

}  // namespace

bool is_reordered(Part part, const Architecture& architecture) {
  return is_fused(part) || (architecture.turns_neighbours && is_q_or_k(part));
}

at::Tensor in_order(const at::Tensor& tensor, Part part,
                    const Architecture& architecture, int64_t head_dim) {
  if (!is_reordered(part, architecture)) return tensor;
  return is_fused(part) ? by_kind(tensor, head_dim)
                        : with_neighbours(tensor, head_dim);
}

at::Tensor out_of_order(const at::Tensor& tensor, Part part,
                        const Architecture& architecture, int64_t head_dim) {
  if (!is_reordered(part, architecture)) return tensor;
  return is_fused(part) ? by_head(tensor, head_dim)
                        : without_neighbours(tensor, head_dim);
}

at::Tensor rope_factors(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_scaling = {};
  return (rope_frequencies(plain, at::kDouble, at::kCPU) /
          rope_frequencies(config, at::kDouble, at::kCPU))
      .to(at::kFloat);
}

}  // namespace annuli::gguf
