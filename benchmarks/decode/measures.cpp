#include "benchmarks/decode/measures.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>

#include <atomic>
#include <chrono>
#include <string>

#include "annuli/core/rng.h"
#include "annuli/generate/sampler.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/parallel.h"

namespace annuli::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kPrompt = 32;  // tokens
constexpr int64_t kFloats = int64_t{1} << 28;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

ANNULI_VECTOR_CLONES float sum(const float* x, int64_t n) {
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

ModelConfig phase_four() {
  ModelConfig config;
  config.hidden_size = 1024;
  config.intermediate_size = 4096;
  config.num_hidden_layers = 15;
  config.num_attention_heads = 16;
  config.num_key_value_heads = 16;
  config.num_experts = 8;
  config.num_experts_per_tok = 2;
  config.tie_word_embeddings = false;
  return config;
}

bool is_expert(const TensorSpec& spec) { return spec.expert >= 0; }

// The sum of `amount` over what a token reads.
template <typename Amount>
int64_t sum_per_token(const Transformer& model, Amount amount) {
  const ModelConfig& config = model.config();
  int64_t sum = 0;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    if (spec.part == Part::kEmbedding && !config.tie_word_embeddings) continue;
    sum += is_expert(spec)
               ? amount(row) * config.num_experts_per_tok / config.num_experts
               : amount(row);
  }
  return sum;
}

}  // namespace

int64_t parameters_per_token(const Transformer& model) {
  return sum_per_token(model,
                       [&](size_t row) { return model.table()[row].numel(); });
}

int64_t narrow_bytes_per_token(const Transformer& model) {
  return sum_per_token(model, [&](size_t row) {
    const TensorSpec& spec = model.table()[row];
    if (!model.is_coded(row)) return 2 * spec.numel();
    return kernels::coded_bytes(spec.shape()[0], spec.shape()[1]);
  });
}

Transformer random_model(at::ScalarType stored) {
  Transformer model(phase_four(), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    at::Tensor value = kernels::owned_empty(spec.shape(), at::kFloat);
    kernels::fill_normal(value, CounterRng(1, spec.name), 0.02);
    if (!spec.is_matrix()) value.fill_(1);
    model.set_stored_weight(row, spec.is_matrix() ? value.to(stored) : value);
  }
  return model;
}

Transformer narrowed(Transformer& model) {
  Transformer narrow(model.config(), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    const at::Tensor wide = model.take_weight(row);
    at::Tensor value = kernels::owned_empty(wide.sizes(), at::kBFloat16);
    value.copy_(wide);
    narrow.set_stored_weight(row, value);
  }
  return narrow;
}

Transformer coded(Transformer& model) {
  NumberTypes numbers = at::kBFloat16;
  numbers.coded = true;
  Transformer result(model.config(), numbers);
  for (size_t row = 0; row < model.table().size(); ++row) {
    result.set_weight(row, model.take_weight(row).to(result.weight_dtype(row)));
  }
  return result;
}

ReadBandwidth::ReadBandwidth()
    : memory_(kernels::owned_empty({kFloats}, at::kFloat)) {
  memory_.fill_(1);
}

int64_t ReadBandwidth::bytes() const {
  return kFloats * static_cast<int64_t>(sizeof(float));
}

double ReadBandwidth::seconds_per_pass() const {
  const float* data = memory_.const_data_ptr<float>();
  std::atomic<float> total = 0;
  const auto begin = Clock::now();
  at::parallel_for(0, kFloats, 1, [&](int64_t first, int64_t last) {
    total = total + sum(data + first, last - first);
  });
  return seconds_since(begin);
}

Decoding::Decoding(const Transformer& model, int64_t sequences)
    : decoder_(model), caches_(sequences), last_(sequences, 7) {
  const CounterRng rng(1, "prompt");
  for (int64_t i = 0; i < sequences; ++i) {
    std::vector<int32_t> prompt;
    for (int64_t t = 0; t < kPrompt; ++t) {
      prompt.push_back(static_cast<int32_t>(
          rng.below(i * kPrompt + t, model.config().vocab_size)));
    }
    decoder_.read(caches_[i], prompt);
  }
}

std::vector<double> Decoding::seconds(int64_t steps) {
  std::vector<KvCache*> caches;
  for (KvCache& cache : caches_) caches.push_back(&cache);
  std::vector<double> seconds;
  for (int64_t step = 0; step < steps; ++step) {
    const auto begin = Clock::now();
    const at::Tensor logits = decoder_.step(caches, last_);
    for (size_t i = 0; i < last_.size(); ++i) {
      last_[i] = greedy_token(logits[static_cast<int64_t>(i)]);
    }
    seconds.push_back(seconds_since(begin));
  }
  for (KvCache& cache : caches_) cache.truncate(kPrompt);
  return seconds;
}

LinearProducts::LinearProducts(const Transformer& model) : model_(model) {}

double LinearProducts::seconds_per_token() {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model_.config();
  const int64_t experts = std::max<int64_t>(config.num_experts, 1);
  const auto begin = Clock::now();
  for (size_t row = 0; row < model_.table().size(); ++row) {
    const TensorSpec& spec = model_.table()[row];
    const bool is_table =
        spec.part == Part::kEmbedding && !config.tie_word_embeddings;
    if (!spec.is_matrix() || is_table) continue;
    // Other neighbours for every token and layer.
    const int64_t place = (spec.expert + token_ + 3 * spec.layer) % experts;
    if (is_expert(spec) && place >= config.num_experts_per_tok) continue;
    const at::Tensor& weight = model_.weight(row);
    at::linear(at::ones({1, weight.size(1)}, weight.options()), weight);
  }
  ++token_;
  return seconds_since(begin);
}

}  // namespace annuli::bench
