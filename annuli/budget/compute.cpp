#include "annuli/budget/compute.h"

#include "annuli/model/tensor_table.h"

namespace annuli::budget {
namespace {

struct Products {
  double blocks = 0;  // parameters that a token is multiplied with
  double head = 0;
};

Products products(const ModelConfig& config) {
  Products found;
  for (const TensorSpec& spec : tensor_table(config)) {
    if (!spec.is_matrix() || spec.layer < 0) continue;
    const bool chosen = spec.expert >= 0;
    found.blocks += static_cast<double>(spec.numel()) *
                    (chosen ? static_cast<double>(config.num_experts_per_tok) /
                                  static_cast<double>(config.num_experts)
                            : 1.0);
  }
  found.head = static_cast<double>(config.vocab_size) *
               static_cast<double>(config.hidden_size);
  return found;
}

// Scores and their mix, for one token: it sees length / 2 others.
double attention(const ModelConfig& config, int64_t length) {
  return 2.0 *
         static_cast<double>(length * config.num_hidden_layers *
                             config.num_attention_heads * config.head_dim);
}

}  // namespace

double forward_flops(const ModelConfig& config, int64_t length) {
  const Products p = products(config);
  return 2 * (p.blocks + p.head) + attention(config, length);
}

double step_flops(const ModelConfig& config, const TrainPlan& train,
                  int64_t sequence_length) {
  const Products p = products(config);
  const double blocks = 2 * p.blocks + attention(config, sequence_length);
  // Backward is twice forward; attention computes its scores once more.
  double token =
      3 * (blocks + 2 * p.head) + attention(config, sequence_length) / 2;
  if (train.gradient_checkpointing) token += blocks;
  if (train.max_grad_norm > 0 && train.clip == ClipNorm::kTwoPass) token *= 2;
  return token * static_cast<double>(train.batch_size * sequence_length *
                                     train.gradient_accumulation_steps);
}

}  // namespace annuli::budget
