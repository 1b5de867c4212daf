#include "annuli/generate/generate.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"

namespace annuli {
namespace {

ModelConfig tiny_dense() {
  ModelConfig config;
  config.vocab_size = 97;
  config.hidden_size = 48;
  config.intermediate_size = 80;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 4;
  config.head_dim = 12;
  config.initializer_range = 0.2;  // large enough for attention to choose
  return config;
}

ModelConfig tiny_grouped() {
  ModelConfig config = tiny_dense();
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.qk_norm = QkNorm::kHead;
  config.gated = true;
  config.hidden_act = Activation::kSilu;
  config.tie_word_embeddings = false;
  return config;
}

ModelConfig tiny_mixture() {
  ModelConfig config = tiny_grouped();
  config.num_experts = 4;
  config.num_experts_per_tok = 2;
  return config;
}

struct Case {
  std::string name;
  ModelConfig config;
};

Transformer make_model(const ModelConfig& config, at::ScalarType dtype) {
  Transformer model(config, dtype);
  initialize(model, 7);
  return model;
}

std::vector<int32_t> random_ids(int64_t n, int64_t vocab_size) {
  const CounterRng rng(5, "test/ids");
  std::vector<int32_t> ids(n);
  for (int64_t i = 0; i < n; ++i) ids[i] = rng.below(i, vocab_size);
  return ids;
}

at::Tensor as_tokens(const std::vector<int32_t>& ids) {
  at::Tensor tokens =
      at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), tokens.mutable_data_ptr<int64_t>());
  return tokens;
}

// Logits of all tokens, read as a block of `first` and then one by one.
at::Tensor cached_logits(const Transformer& model, const at::Tensor& tokens,
                         int64_t first, KvCache& cache) {
  ForwardOptions options;
  options.cache = &cache;
  std::vector<at::Tensor> pieces = {
      model.logits(tokens.narrow(1, 0, first), options)};
  for (int64_t t = first; t < tokens.size(1); ++t) {
    pieces.push_back(model.logits(tokens.narrow(1, t, 1), options));
  }
  return at::cat(pieces, 1);
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return at::linalg_vector_norm(a.sub(b)).item<double>() /
         at::linalg_vector_norm(b).item<double>();
}

// The two orders of summation differ by rounding only. A sum of n products
// errs by about sqrt(n) u (Higham & Mary 2019, with a constant near 1; we grant
// 4), n at most the width of the feed-forward layer; each layer chains six
// products (q k, weights v, o, up, gate, down) and the head is one more.
double rounding_bound(const ModelConfig& config, at::ScalarType dtype) {
  const double unit = dtype == at::kFloat
                          ? std::numeric_limits<float>::epsilon() / 2
                          : std::numeric_limits<double>::epsilon() / 2;
  const double products = 6.0 * config.num_hidden_layers + 1;
  return 4 * products * std::sqrt(config.intermediate_size) * unit;
}

class CachedDecoding : public testing::TestWithParam<Case> {};

TEST_P(CachedDecoding, EqualsTheFullPassInFp32) {
  const ModelConfig& config = GetParam().config;
  const Transformer model = make_model(config, at::kFloat);
  const at::Tensor tokens = as_tokens(random_ids(24, config.vocab_size));
  const at::Tensor full = model.logits(tokens);
  for (const int64_t first : {1, 9, 24}) {
    KvCache cache;
    EXPECT_LE(relative_error(cached_logits(model, tokens, first, cache), full),
              rounding_bound(config, at::kFloat))
        << "prefill of " << first;
    EXPECT_EQ(cache.length, 24);
  }
}

TEST_P(CachedDecoding, EqualsTheFullPassInFp64) {
  const ModelConfig& config = GetParam().config;
  const Transformer model = make_model(config, at::kDouble);
  const at::Tensor tokens = as_tokens(random_ids(24, config.vocab_size));
  KvCache cache;
  EXPECT_LE(relative_error(cached_logits(model, tokens, 9, cache),
                           model.logits(tokens)),
            1e-12);
}

// The control: a cache that has lost its place, or one token, is seen.
TEST_P(CachedDecoding, ABrokenCacheIsFarOff) {
  const ModelConfig& config = GetParam().config;
  const Transformer model = make_model(config, at::kDouble);
  const at::Tensor tokens = as_tokens(random_ids(10, config.vocab_size));
  const at::Tensor full = model.logits(tokens).narrow(1, 9, 1);
  ForwardOptions options;
  for (const bool lose_place : {true, false}) {
    KvCache cache;
    cached_logits(model, tokens.narrow(1, 0, 9), 9, cache);
    if (lose_place) {
      cache.length = 5;
    } else {
      cache.keys[1] = cache.keys[1].narrow(1, 1, 8);
      cache.values[1] = cache.values[1].narrow(1, 1, 8);
    }
    options.cache = &cache;
    EXPECT_GT(
        relative_error(model.logits(tokens.narrow(1, 9, 1), options), full),
        1e-3);
  }
}

TEST_P(CachedDecoding, GreedyTextIsTheArgmaxOfFullPasses) {
  const ModelConfig& config = GetParam().config;
  const Transformer model = make_model(config, at::kDouble);
  std::vector<int32_t> text = random_ids(6, config.vocab_size);
  GenerateOptions options;
  options.max_new_tokens = 12;
  const std::vector<int32_t> fresh = generate(model, text, options);
  ASSERT_EQ(fresh.size(), 12u);
  for (const int32_t id : fresh) {
    const at::Tensor logits = model.logits(as_tokens(text));
    EXPECT_EQ(id, logits[0][-1].argmax().item<int64_t>());
    text.push_back(id);
  }
}

TEST_P(CachedDecoding, SampledTextFollowsTheSamplerOnFullPasses) {
  const ModelConfig& config = GetParam().config;
  const Transformer model = make_model(config, at::kDouble);
  std::vector<int32_t> text = random_ids(1, config.vocab_size);
  GenerateOptions options;
  options.max_new_tokens = 12;
  options.temperature = 1.3;
  options.top_k = 40;
  options.top_p = 0.95;
  options.seed = 21;
  const SamplerOptions sampler{1.3, 40, 0.95, 21};
  const std::vector<int32_t> fresh = generate(model, text, options);
  ASSERT_EQ(fresh.size(), 12u);
  for (size_t i = 0; i < fresh.size(); ++i) {
    const at::Tensor logits = model.logits(as_tokens(text))[0][-1];
    EXPECT_EQ(fresh[i], sample_token(logits, sampler, i));
    text.push_back(fresh[i]);
  }
  EXPECT_EQ(fresh, generate(model, random_ids(1, config.vocab_size), options));
  options.seed = 22;
  EXPECT_NE(fresh, generate(model, random_ids(1, config.vocab_size), options));
}

INSTANTIATE_TEST_SUITE_P(Models, CachedDecoding,
                         testing::Values(Case{"dense", tiny_dense()},
                                         Case{"grouped", tiny_grouped()},
                                         Case{"mixture", tiny_mixture()}),
                         [](const auto& info) { return info.param.name; });

TEST(Generate, StopsBeforeTheStopTokenAndTellsEachToken) {
  const Transformer model = make_model(tiny_dense(), at::kDouble);
  const std::vector<int32_t> prompt = random_ids(4, 97);
  std::vector<int32_t> told;
  GenerateOptions options;
  options.max_new_tokens = 10;
  options.temperature = 2;
  options.on_token = [&](int32_t id) { told.push_back(id); };
  const std::vector<int32_t> whole = generate(model, prompt, options);
  EXPECT_EQ(told, whole);
  ASSERT_EQ(whole.size(), 10u);

  const auto stop = whole.begin() + 6;
  const auto first = std::find(whole.begin(), whole.end(), *stop);
  options.stop_id = *stop;
  EXPECT_EQ(generate(model, prompt, options),
            std::vector<int32_t>(whole.begin(), first));
}

TEST(Generate, GivesNothingWhenNothingIsAsked) {
  const Transformer model = make_model(tiny_dense(), at::kFloat);
  GenerateOptions options;
  options.max_new_tokens = 0;
  EXPECT_TRUE(generate(model, std::vector<int32_t>{1, 2}, options).empty());
}

TEST(Generate, RefusesPromptsItCannotRead) {
  const Transformer model = make_model(tiny_dense(), at::kFloat);
  const auto refuses = [&](std::vector<int32_t> prompt) {
    EXPECT_THROW(generate(model, prompt, {}), UserError);
  };
  refuses({});
  refuses({3, 97});
  refuses({-1});
}

// A model that is being trained generates without recording a graph.
TEST(Generate, BuildsNoGraph) {
  Transformer model = make_model(tiny_dense(), at::kFloat);
  const std::vector<int32_t> prompt = {1, 2, 3};
  const std::vector<int32_t> expected = generate(model, prompt, {});
  const GradientScope scope(model);
  EXPECT_EQ(generate(model, prompt, {}), expected);
}

}  // namespace
}  // namespace annuli
