#include "tests/support/tiny_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <fmt/core.h>

#include "annuli/core/rng.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::tiny {

std::string name_of(const Flavour& flavour) {
  const char* rope = flavour.rope_type == RopeScaling::Type::kLinear ? "_linear"
                     : flavour.rope_type == RopeScaling::Type::kLlama3
                         ? "_llama3"
                     : flavour.rope_type == RopeScaling::Type::kYarn ? "_yarn"
                                                                     : "";
  return fmt::format(
      "{}_{}_{}{}_kv{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}",
      flavour.mixture ? "mixture" : "dense",
      flavour.gated ? "gated" : "ungated", flavour.tied ? "tied" : "untied",
      flavour.qk_norm ? "_qknorm" : "", flavour.num_key_value_heads,
      flavour.qkv_bias ? "_qkvbias" : "", flavour.o_bias ? "_obias" : "",
      flavour.mlp_bias ? "_mlpbias" : "",
      flavour.shared_expert ? "_shared" : "",
      flavour.norm_topk_prob ? "" : "_rawgates",
      flavour.full_qk_norm ? "_fullqknorm" : "",
      flavour.post_norm ? "_postnorm" : "",
      flavour.logit_multiplier == 1 ? "" : "_multiplier", rope,
      flavour.layer_norm ? "_layernorm" : "",
      flavour.parallel ? "_parallel" : "", flavour.fused_qkv ? "_fused" : "",
      flavour.partial_rotary == 1 ? "" : "_partial",
      flavour.selection_bias ? "_selection" : "");
}

std::vector<Flavour> flavours() {
  std::vector<Flavour> all;
  for (bool mixture : {false, true}) {
    for (bool gated : {false, true}) {
      for (bool tied : {false, true}) {
        all.push_back({mixture, gated, tied, false, 4});
        all.push_back({mixture, gated, tied, true, 2});
      }
    }
    all.push_back({mixture, true, true, false, 1});
  }
  return all;
}

std::vector<Flavour> family_flavours() {
  using Rope = RopeScaling::Type;
  return {
      // Llama with attention_bias and mlp_bias
      {.gated = true,
       .tied = false,
       .num_key_value_heads = 2,
       .qkv_bias = true,
       .o_bias = true,
       .mlp_bias = true,
       .rope_type = Rope::kLlama3},
      // Qwen2
      {.gated = true,
       .num_key_value_heads = 2,
       .qkv_bias = true,
       .rope_type = Rope::kYarn},
      // OLMo-2
      {.gated = true,
       .tied = false,
       .num_key_value_heads = 2,
       .full_qk_norm = true,
       .post_norm = true},
      // Granite
      {.gated = true,
       .num_key_value_heads = 1,
       .logit_multiplier = 0.25,
       .rope_type = Rope::kLinear},
      // Qwen2-MoE, with the gates that are its default and the others
      {.mixture = true,
       .gated = true,
       .tied = false,
       .qkv_bias = true,
       .shared_expert = true,
       .norm_topk_prob = false},
      {.mixture = true,
       .gated = true,
       .num_key_value_heads = 2,
       .qkv_bias = true,
       .shared_expert = true},
      // Qwen3-MoE with the gates that are its default
      {.mixture = true,
       .gated = true,
       .qk_norm = true,
       .num_key_value_heads = 2,
       .norm_topk_prob = false},
      // no class: an OLMo-2 mixture, a mixture with every bias, and an ungated
      // layer that is normalised after
      {.mixture = true,
       .gated = true,
       .num_key_value_heads = 2,
       .full_qk_norm = true,
       .post_norm = true},
      {.mixture = true,
       .tied = false,
       .num_key_value_heads = 2,
       .qkv_bias = true,
       .o_bias = true,
       .mlp_bias = true,
       .shared_expert = true,
       .logit_multiplier = 3},
      {.qkv_bias = true, .o_bias = true, .mlp_bias = true, .post_norm = true},
      // GPT-NeoX, one block after the other and tied, and a mixture of its
      // shape, which has no class
      {.tied = false,
       .qkv_bias = true,
       .o_bias = true,
       .mlp_bias = true,
       .layer_norm = true,
       .parallel = true,
       .fused_qkv = true,
       .partial_rotary = 1 / 3.0},
      {.mlp_bias = true,
       .layer_norm = true,
       .fused_qkv = true,
       .partial_rotary = 0.7},
      {.mixture = true,
       .tied = false,
       .qkv_bias = true,
       .o_bias = true,
       .mlp_bias = true,
       .layer_norm = true,
       .parallel = true,
       .fused_qkv = true,
       .partial_rotary = 0.7},
      // mixtures that are balanced without a loss, which have no class either
      {.mixture = true,
       .gated = true,
       .num_key_value_heads = 2,
       .selection_bias = true},
      {.mixture = true,
       .tied = false,
       .mlp_bias = true,
       .shared_expert = true,
       .norm_topk_prob = false,
       .selection_bias = true},
  };
}

std::vector<Flavour> all_flavours() {
  std::vector<Flavour> all = flavours();
  for (const Flavour& flavour : family_flavours()) all.push_back(flavour);
  return all;
}

ModelConfig config(const Flavour& flavour) {
  ModelConfig config;
  config.vocab_size = 61;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.num_key_value_heads = flavour.num_key_value_heads;
  config.head_dim = 6;
  config.num_experts = flavour.mixture ? 4 : 0;
  config.num_experts_per_tok = flavour.mixture ? 2 : 0;
  config.hidden_act = flavour.gated ? Activation::kSilu : Activation::kGelu;
  config.gated = flavour.gated;
  config.qk_norm = flavour.full_qk_norm ? QkNorm::kFull
                   : flavour.qk_norm    ? QkNorm::kHead
                                        : QkNorm::kNone;
  config.qkv_bias = flavour.qkv_bias;
  config.o_bias = flavour.o_bias;
  config.mlp_bias = flavour.mlp_bias;
  config.shared_expert_intermediate_size = flavour.shared_expert ? 28 : 0;
  config.norm_topk_prob = flavour.norm_topk_prob;
  if (flavour.post_norm) config.norm_placement = NormPlacement::kPost;
  if (flavour.layer_norm) config.norm_type = NormType::kLayer;
  config.parallel_residual = flavour.parallel;
  config.fused_qkv = flavour.fused_qkv;
  config.partial_rotary_factor = flavour.partial_rotary;
  config.selection_bias = flavour.selection_bias;
  config.logit_multiplier = flavour.logit_multiplier;
  config.rope_scaling.type = flavour.rope_type;
  if (flavour.rope_type != RopeScaling::Type::kDefault) {
    config.rope_scaling.factor = 3;
    // Wavelengths of 6 to 1300: one kept, one blended, one stretched.
    config.rope_scaling.original_max_position_embeddings = 200;
    config.rope_scaling.attention_factor = yarn_attention_factor(3);
  }
  config.tie_word_embeddings = flavour.tied;
  config.initializer_range = 0.2;
  validate(config);
  return config;
}

Transformer model(const ModelConfig& config, at::ScalarType dtype,
                  uint64_t seed) {
  Transformer model(config, dtype);
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    at::Tensor value = kernels::owned_empty(spec.shape(), model.dtype());
    kernels::fill_normal(value, CounterRng(seed, "tiny/" + spec.name),
                         config.initializer_range);
    const bool gain = traits_of(spec.part).kind == PartTraits::Kind::kGain;
    if (gain) value.add_(1);
    model.set_weight(row, value.to(model.weight_dtype(row)));
  }
  return model;
}

Transformer with_config(const Transformer& model, const ModelConfig& config) {
  Transformer other(config, model.numbers());
  for (size_t row = 0; row < other.table().size(); ++row) {
    other.set_weight(row, model.weight(row));
  }
  return other;
}

Transformer clone(const Transformer& model) {
  Transformer copy(model.config(), model.numbers(), model.device());
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.is_coded(row)) {
      copy.set_codes(row, {model.codes(row).codes.clone(),
                           model.codes(row).exponents.clone()});
    } else {
      copy.set_weight(row, kernels::owned_copy(model.weight(row)));
    }
  }
  return copy;
}

Transformer coded_model(const ModelConfig& config) {
  const Transformer drawn = model(config, at::kBFloat16);
  Transformer coded(config, number_types(Precision::kInt8Weights));
  for (size_t row = 0; row < coded.table().size(); ++row) {
    coded.set_weight(row, drawn.weight(row));
  }
  return coded;
}

Transformer widened(const Transformer& coded) {
  Transformer wide(coded.config(), coded.weight_dtype());
  for (size_t row = 0; row < wide.table().size(); ++row) {
    wide.set_weight(row, kernels::owned_copy(coded.read_weight(row)));
  }
  return wide;
}

at::Tensor tokens(int64_t B, int64_t T, int64_t vocab_size, uint64_t seed) {
  const CounterRng rng(seed, "tiny/tokens");
  at::Tensor tokens = at::empty({B, T}, at::kLong);
  int64_t* data = tokens.data_ptr<int64_t>();
  for (int64_t i = 0; i < B * T; ++i) {
    data[i] = static_cast<int64_t>(rng.below(i, vocab_size));
  }
  return tokens;
}

std::vector<at::Tensor> gradients(Transformer& model, const at::Tensor& tokens,
                                  const at::Tensor& targets,
                                  const LossOptions& options) {
  std::vector<at::Tensor> gradients(model.table().size());
  const GradientScope scope(model);
  const Loss loss = model.loss(tokens, targets, options);
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    gradients[row] = gradient;
  });
  return gradients;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kCPU, at::kDouble);
  const at::Tensor y = b.detach().to(at::kCPU, at::kDouble);
  const double error = at::linalg_vector_norm(x - y).item<double>();
  const double norm = at::linalg_vector_norm(x).item<double>();
  return error == 0 ? 0 : error / norm;
}

}  // namespace annuli::tiny
