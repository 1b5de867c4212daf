#include "annuli/generate/generate.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/model/kv_cache.h"

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
  for (int64_t i = 0; i < n; ++i)
    ids[i] = static_cast<int32_t>(rng.below(i, vocab_size));
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
    EXPECT_EQ(cache.length(), 24);
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
      cache.truncate(5);
    } else {
      cache.layer(1).keys.select(2, 0).zero_();
      cache.layer(1).values.select(2, 0).zero_();
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
  options.on_token = [&](size_t, int32_t id) { told.push_back(id); };
  const std::vector<int32_t> whole = generate(model, prompt, options);
  EXPECT_EQ(told, whole);
  ASSERT_EQ(whole.size(), 10u);

  const auto stop = whole.begin() + 6;
  const auto first = std::find(whole.begin(), whole.end(), *stop);
  options.stop_ids = {*stop};
  EXPECT_EQ(generate(model, prompt, options),
            std::vector<int32_t>(whole.begin(), first));
}

// Prompts of all lengths in groups of two: each text is that of its prompt
// alone, sampled or greedy, and each token is told with the prompt's number.
TEST(Generate, ManyPromptsAreEachAsAlone) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const Transformer model = make_model(tiny_mixture(), dtype);
    const std::vector<int32_t> ids = random_ids(60, 97);
    std::vector<TokenIds> prompts;
    for (const int64_t n : {5, 1, 50, 17, 9}) {
      prompts.emplace_back(ids.begin(), ids.begin() + n);
    }
    GenerateOptions options;
    options.max_new_tokens = 7;
    options.temperature = 1.2;
    options.batch = 2;
    std::vector<TokenIds> told(prompts.size());
    options.on_token = [&](size_t i, int32_t id) { told[i].push_back(id); };
    GenerateStats stats;
    const std::vector<TokenIds> all = generate(model, prompts, options, &stats);
    EXPECT_EQ(told, all);
    options.on_token = {};
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(all[i], generate(model, prompts[i], options)) << i;
    }
    EXPECT_EQ(stats.new_tokens, 5 * 6);
    EXPECT_GT(stats.new_seconds, 0);
  }
}

// A text that ends leaves the others as they are.
TEST(Generate, OnePromptMayEndBeforeTheOthers) {
  const Transformer model = make_model(tiny_dense(), at::kFloat);
  const std::vector<TokenIds> prompts = {random_ids(4, 97), random_ids(9, 97)};
  GenerateOptions options;
  options.max_new_tokens = 10;
  options.temperature = 2;
  const std::vector<TokenIds> whole = generate(model, prompts, options);
  // The first token of the first text that the second does not have.
  const auto stop = std::ranges::find_if(whole[0], [&](int32_t id) {
    return std::ranges::find(whole[1], id) == whole[1].end();
  });
  ASSERT_NE(stop, whole[0].end());
  options.stop_ids = {*stop};
  const std::vector<TokenIds> stopped = generate(model, prompts, options);
  EXPECT_EQ(stopped[0], TokenIds(whole[0].begin(), stop));
  EXPECT_EQ(stopped[1], whole[1]);
}

TEST(Generate, GivesNothingWhenNothingIsAsked) {
  const Transformer model = make_model(tiny_dense(), at::kFloat);
  GenerateOptions options;
  options.max_new_tokens = 0;
  EXPECT_TRUE(generate(model, std::vector<int32_t>{1, 2}, options).empty());
  EXPECT_TRUE(generate(model, std::vector<TokenIds>{}, {}).empty());
}

TEST(Generate, RefusesPromptsItCannotRead) {
  const Transformer model = make_model(tiny_dense(), at::kFloat);
  const auto refuses = [&](const std::vector<int32_t>& prompt) {
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
