#include "annuli/gguf/model_tensors.h"

#include <fmt/core.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/gguf/encode.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli::gguf {
namespace {

constexpr int64_t kQ8Block = 32;

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

// [heads * head_dim, ...]: of each head the entries i and i + head_dim / 2,
// which are turned together, become neighbours.
at::Tensor with_neighbours(const at::Tensor& rows, int64_t head_dim) {
  std::vector<int64_t> shape = {rows.size(0) / head_dim, 2, head_dim / 2};
  for (int64_t i = 1; i < rows.dim(); ++i) shape.push_back(rows.size(i));
  return rows.reshape(shape).transpose(1, 2).reshape(rows.sizes());
}

// [H, 3, head_dim, ...] -> [3, H, head_dim, ...]
at::Tensor by_kind(const at::Tensor& rows, int64_t head_dim) {
  std::vector<int64_t> shape = {rows.size(0) / (3 * head_dim), 3, head_dim};
  for (int64_t i = 1; i < rows.dim(); ++i) shape.push_back(rows.size(i));
  return rows.reshape(shape).transpose(0, 1).reshape(rows.sizes());
}

at::Tensor in_order(const at::Tensor& tensor, Part part,
                    const Architecture& architecture, int64_t head_dim) {
  switch (part) {
    case Part::kQ:
    case Part::kQBias:
    case Part::kK:
    case Part::kKBias:
      return architecture.turns_neighbours ? with_neighbours(tensor, head_dim)
                                           : tensor;
    case Part::kQkv:
    case Part::kQkvBias:
      return by_kind(tensor, head_dim);
    default:
      return tensor;
  }
}

Type type_of(const TensorSpec& spec, Type asked) {
  const bool is_router =
      spec.part == Part::kRouter || spec.part == Part::kSharedGate;
  if (!spec.is_matrix() || is_router) return Type::kF32;
  const bool fits = spec.shape().back() % kQ8Block == 0;
  return asked == Type::kQ8_0 && !fits ? Type::kF16 : asked;
}

// What the frequencies are divided by, one for each pair of a head.
at::Tensor rope_factors(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_scaling = {};
  return rope_frequencies(plain, at::kDouble, at::kCPU) /
         rope_frequencies(config, at::kDouble, at::kCPU);
}

void add_zeros(const std::string& name, int64_t size, Writer& writer) {
  writer.add_tensor(name, {size}, Type::kF32, [size](const Writer::Sink& sink) {
    const std::string zeros(static_cast<size_t>(bytes_of(Type::kF32, size)),
                            '\0');
    sink(zeros.data(), zeros.size());
  });
}

// Of attention's matrices that have none.
void add_zero_biases(const TensorTable& table, const ModelConfig& config,
                     Writer& writer) {
  for (const TensorSpec& spec : table) {
    const bool lacks = (spec.part == Part::kQkv && !config.qkv_bias) ||
                       (spec.part == Part::kO && !config.o_bias);
    if (!lacks) continue;
    add_zeros(fmt::format("blk.{}.{}.bias", spec.layer, name_of(spec.part)),
              spec.shape().front(), writer);
  }
}

}  // namespace

void add_tensors(const ModelFile& model, const Architecture& architecture,
                 Type type, Writer& writer) {
  const ModelConfig& config = model.config();
  const auto produce = [&model, &architecture](std::vector<TensorSpec> specs,
                                               Type stored) {
    return [&model, &architecture, specs = std::move(specs),
            stored](const Writer::Sink& sink) {
      for (const TensorSpec& spec : specs) {
        const std::string bytes =
            encode(in_order(model.tensor(spec.name), spec.part, architecture,
                            model.config().head_dim),
                   stored);
        sink(bytes.data(), bytes.size());
        model.drop_resident();
      }
    };
  };
  std::map<std::string, std::vector<TensorSpec>> experts;
  const TensorTable table = tensor_table(config);
  for (const TensorSpec& spec : table) {
    if (spec.expert >= 0) experts[name_of(spec)].push_back(spec);
  }
  for (const TensorSpec& spec : table) {
    const Type stored = type_of(spec, type);
    const std::string name = name_of(spec);
    std::vector<int64_t> shape = spec.shape();
    if (spec.expert < 0) {
      // A single output is a row of its own.
      if (spec.part == Part::kSharedGate) shape = {shape.back()};
      writer.add_tensor(name, shape, stored, produce({spec}, stored));
    } else if (spec.expert == 0) {
      shape.insert(shape.begin(), config.num_experts);
      writer.add_tensor(name, shape, stored, produce(experts[name], stored));
    }
  }
  if (config.tie_word_embeddings && !architecture.takes_tied_head) {
    const Type stored = type_of(table.front(), type);
    writer.add_tensor("output.weight", table.front().shape(), stored,
                      produce({table.front()}, stored));
  }
  if (architecture.needs_biases) add_zero_biases(table, config, writer);
  if (config.rope_scaling.type == RopeScaling::Type::kLlama3) {
    const std::string bytes = encode(rope_factors(config), Type::kF32);
    writer.add_tensor("rope_freqs.weight", {config.rotary_dim() / 2},
                      Type::kF32, [bytes](const Writer::Sink& sink) {
                        sink(bytes.data(), bytes.size());
                      });
  }
}

}  // namespace annuli::gguf
