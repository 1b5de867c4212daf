#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/model/transformer.h"

// Models small enough to be built by the hundred, in every shape the program
// supports, and what tests need around them. Everything follows from seeds.
namespace annuli::tiny {

struct Flavour {
  bool mixture = false;  // 4 experts, 2 per token
  bool gated = false;    // silu gated, else gelu
  bool tied = true;
  bool qk_norm = false;
  int64_t num_key_value_heads = 4;  // of 4 heads: 4 plain, 2 grouped, 1 MQA
  // What other families have (all off in `flavours`).
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool shared_expert = false;  // of width 28, beside the experts
  bool norm_topk_prob = true;
  bool full_qk_norm = false;  // over all heads together
  bool post_norm = false;     // x + norm(f(x))
  double logit_multiplier = 1;
  RopeScaling::Type rope_type = RopeScaling::Type::kDefault;
  bool layer_norm = false;      // with biases
  bool parallel = false;        // attention and feed-forward read the same x
  bool fused_qkv = false;       // in one tensor; of as many kv heads as heads
  double partial_rotary = 1;    // of head_dim 6: 1 / 3 turns two entries
  bool selection_bias = false;  // of a mixture
};

// "mixture_gated_tied_qknorm_kv2"; fit for a test's name.
std::string name_of(const Flavour& flavour);

// 18 flavours: mixture x gated x tied x {plain, q/k norm with grouped heads},
// and a mixture and a dense model with a single kv head.
std::vector<Flavour> flavours();

// 15 more, each of the other switches in at least two: the shapes of a Llama
// with biases, qwen2, olmo2, granite, qwen2_moe, gpt_neox, and shapes that no
// class of transformers has. Every test that walks `flavours` and holds for all
// families walks these too.
std::vector<Flavour> family_flavours();

// Both lists, one after the other.
std::vector<Flavour> all_flavours();

// V = 61, D = 24, H = 4, head_dim 6, F = 40, L = 3. Weights are drawn wide, so
// that attention, router and activations leave their linear range.
ModelConfig config(const Flavour& flavour = {});

// Matrices and biases, selection biases too, normal(0, initializer_range),
// gains around 1.
Transformer model(const ModelConfig& config, at::ScalarType dtype,
                  uint64_t seed = 1);

// With matrices held as codes (model/coded_weights.h), the nearest to those of
// `model`; and the same values in bf16.
Transformer coded_model(const ModelConfig& config);
Transformer widened(const Transformer& coded);

// Every tensor copied.
Transformer clone(const Transformer& model);

// The same tensors, shared, under another config with the same table.
Transformer with_config(const Transformer& model, const ModelConfig& config);

at::Tensor tokens(int64_t B, int64_t T, int64_t vocab_size, uint64_t seed = 7);

// Every parameter's gradient of the loss, in the order of the table.
std::vector<at::Tensor> gradients(Transformer& model, const at::Tensor& tokens,
                                  const at::Tensor& targets,
                                  const LossOptions& options = {});

// ||a - b|| / ||a||, in fp64; 0 if both are zero.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace annuli::tiny
