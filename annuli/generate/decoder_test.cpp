#include "annuli/generate/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using test::same_bits;

std::vector<int32_t> random_ids(int64_t n, const std::string& name) {
  const CounterRng rng(5, name);
  std::vector<int32_t> ids(n);
  for (int64_t i = 0; i < n; ++i) {
    ids[i] = static_cast<int32_t>(rng.below(i, 61));
  }
  return ids;
}

at::Tensor as_tokens(std::span<const int32_t> ids) {
  at::Tensor tokens =
      at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  std::ranges::copy(ids, tokens.mutable_data_ptr<int64_t>());
  return tokens;
}

// fp32 arithmetic, matrices stored as `dtype`.
Transformer stored_model(const tiny::Flavour& flavour, at::ScalarType dtype) {
  const Transformer drawn = tiny::model(tiny::config(flavour), at::kFloat);
  Transformer model(drawn.config(), at::kFloat);
  for (size_t row = 0; row < model.table().size(); ++row) {
    model.set_stored_weight(row, drawn.weight(row).to(dtype));
  }
  return model;
}

// Logits of the tokens from number `first` on, [n, V]; those before are read in
// one go.
at::Tensor stepwise(Decoder& decoder, KvCache& cache,
                    std::span<const int32_t> ids, size_t first) {
  decoder.read(cache, ids.first(first));
  std::vector<at::Tensor> rows;
  KvCache* const caches[] = {&cache};
  for (size_t t = first; t < ids.size(); ++t) {
    rows.push_back(decoder.step(caches, ids.subspan(t, 1)));
  }
  return at::cat(rows);
}

// Rows `first` on of a plain pass over the whole text in fp64.
at::Tensor exact(const Transformer& model, std::span<const int32_t> ids,
                 size_t first) {
  ForwardOptions options;
  options.double_arithmetic = true;
  const at::NoGradGuard no_grad;
  const at::Tensor all = model.logits(as_tokens(ids), options)[0];
  return all.narrow(0, static_cast<int64_t>(first),
                    static_cast<int64_t>(ids.size() - first));
}

// A sum of n products errs by about sqrt(n) u (Higham & Mary 2019, with a
// constant near 1; we grant 4); n is at most 40 here, and each of three layers
// chains six products (q k, weights v, o, up, gate, down), the head one more.
// The weights are the same on both sides, whatever they are stored in.
const double kBound = 4 * (6 * 3 + 1) * std::sqrt(40.0) * 0x1p-24;

// Tokens of the text, and how many are read at once: none, a short prompt, one
// that goes through the matrix library.
constexpr std::pair<int64_t, int64_t> kReadings[] = {
    {40, 0}, {40, 9}, {140, 136}};

TEST(Decoder, EqualsAPlainPassInFp64) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const Transformer model = stored_model(flavour, dtype);
      ASSERT_TRUE(decoding::readable(model));
      Decoder decoder(model);
      for (const auto& [length, first] : kReadings) {
        const std::vector<int32_t> ids = random_ids(length, "text");
        KvCache cache;
        const at::Tensor logits = stepwise(decoder, cache, ids, first);
        EXPECT_LE(tiny::relative_error(exact(model, ids, first), logits),
                  kBound)
            << tiny::name_of(flavour) << ", " << first << " read at once";
        EXPECT_EQ(cache.length(), static_cast<int64_t>(length));
      }
    }
  }
}

// The control: a cache that has lost its place or a token is far off.
TEST(Decoder, ABrokenCacheIsFarOff) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer model = stored_model(flavour, at::kFloat);
    Decoder decoder(model);
    const std::vector<int32_t> ids = random_ids(10, "text");
    for (const bool lose_place : {true, false}) {
      KvCache cache;
      decoder.read(cache, std::span(ids).first(9));
      if (lose_place) {
        cache.truncate(5);
      } else {
        cache.layer(1).keys.select(2, 0).zero_();
        cache.layer(1).values.select(2, 0).zero_();
      }
      KvCache* const caches[] = {&cache};
      const at::Tensor logits = decoder.step(caches, std::span(ids).subspan(9));
      EXPECT_GT(tiny::relative_error(exact(model, ids, 9), logits), 30 * kBound)
          << tiny::name_of(flavour);
    }
  }
}

// What each of several texts of different lengths gets, five steps long, is
// what it gets alone, bit for bit.
TEST(Decoder, ARowOfABatchEqualsItsSingleRun) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const Transformer model = stored_model(flavour, dtype);
      Decoder decoder(model);
      std::vector<std::vector<int32_t>> texts;
      for (const int64_t n : {6, 20, 5, 150, 13}) {
        texts.push_back(random_ids(n, "text" + std::to_string(n)));
      }
      std::vector<KvCache> kept(texts.size());
      std::vector<KvCache*> caches;
      std::vector<at::Tensor> alone;
      for (size_t i = 0; i < texts.size(); ++i) {
        KvCache cache;
        alone.push_back(
            stepwise(decoder, cache, texts[i], texts[i].size() - 5));
        decoder.read(kept[i], std::span(texts[i]).first(texts[i].size() - 5));
        caches.push_back(&kept[i]);
      }
      for (int64_t step = 0; step < 5; ++step) {
        std::vector<int32_t> ids;
        for (const auto& text : texts)
          ids.push_back(text[text.size() - 5 + step]);
        const at::Tensor logits = decoder.step(caches, ids);
        for (size_t i = 0; i < texts.size(); ++i) {
          EXPECT_TRUE(same_bits(logits[i], alone[i][step]))
              << tiny::name_of(flavour) << ", text " << i << ", step " << step;
        }
      }
    }
  }
}

// Codes, read as they are or, where they lie awkwardly, widened.
TEST(Decoder, CodesHaveTheBitsOfTheBf16TheySay) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer coded = tiny::coded_model(tiny::config(flavour));
    const Transformer wide = tiny::widened(coded);
    Decoder of_codes(coded);
    Decoder of_bf16(wide);
    KvCache first, second;
    const std::vector<int32_t> ids = random_ids(160, "text");
    EXPECT_TRUE(same_bits(stepwise(of_codes, first, ids, 140),
                          stepwise(of_bf16, second, ids, 140)))
        << tiny::name_of(flavour);
  }
}

TEST(Decoder, AShortPromptHasTheBitsOfItsTokensOneByOne) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer model = stored_model(flavour, at::kFloat);
    Decoder decoder(model);
    const std::vector<int32_t> ids = random_ids(31, "text");
    KvCache at_once, one_by_one;
    EXPECT_TRUE(
        same_bits(stepwise(decoder, at_once, ids, 30),
                  stepwise(decoder, one_by_one, ids, 0).narrow(0, 30, 1)))
        << tiny::name_of(flavour);
  }
}

TEST(Decoder, SameBitsForAnyThreadCount) {
  const Transformer model =
      stored_model({.mixture = true, .gated = true}, at::kFloat);
  Decoder decoder(model);
  const std::vector<int32_t> ids = random_ids(25, "text");
  KvCache first, second;
  kernels::set_num_threads(1);
  const at::Tensor one = stepwise(decoder, first, ids, 9);
  kernels::set_num_threads(2);
  EXPECT_TRUE(same_bits(stepwise(decoder, second, ids, 9), one));
}

// Other models take the plain path, and batches come out the same there.
TEST(Decoder, RunsWhatItCannotReadItself) {
  const Transformer model =
      tiny::model(tiny::config({.mixture = true}), at::kDouble);
  EXPECT_FALSE(decoding::readable(model));
  EXPECT_FALSE(decoding::readable(stored_model({}, at::kHalf)));
  Decoder decoder(model);
  const std::vector<int32_t> a = random_ids(12, "a"), b = random_ids(7, "b");
  KvCache alone, first, second;
  const at::Tensor expected = stepwise(decoder, alone, a, 11);
  EXPECT_LE(tiny::relative_error(exact(model, a, 11), expected), 1e-12);
  decoder.read(first, std::span(b).first(6));
  decoder.read(second, std::span(a).first(11));
  KvCache* const caches[] = {&first, &second};
  const std::vector<int32_t> last = {b[6], a[11]};
  EXPECT_TRUE(same_bits(decoder.step(caches, last).narrow(0, 1, 1), expected));
}

// Which experts the last token of a text chooses, [layer][expert].
std::vector<std::vector<bool>> chosen_by_last(const Transformer& model,
                                              std::span<const int32_t> ids) {
  Trace trace;
  ForwardOptions options;
  options.trace = &trace;
  model.hidden_states(as_tokens(ids), options);
  std::vector<std::vector<bool>> chosen;
  for (const LayerTrace& layer : trace.layers) {
    chosen.emplace_back(model.config().num_experts, false);
    const at::Tensor last = layer.experts[-1];
    for (int64_t i = 0; i < last.numel(); ++i) {
      chosen.back()[last[i].item<int64_t>()] = true;
    }
  }
  return chosen;
}

// NaN in every weight of the experts that the last token does (or does not)
// choose.
void spoil(Transformer& model, const std::vector<std::vector<bool>>& chosen,
           bool the_chosen) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    if (spec.expert < 0 || chosen[spec.layer][spec.expert] != the_chosen) {
      continue;
    }
    model.set_stored_weight(row, at::full_like(model.weight(row), nan));
  }
}

TEST(Decoder, ReadsOnlyTheChosenExperts) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    if (!flavour.mixture) continue;
    Transformer model = stored_model(flavour, at::kFloat);
    const std::vector<int32_t> ids = random_ids(10, "text");
    const auto chosen = chosen_by_last(model, ids);
    const auto last_logits = [&](const auto& before_the_last) {
      KvCache cache;
      Decoder(model).read(cache, std::span(ids).first(9));
      before_the_last();
      KvCache* const caches[] = {&cache};
      return Decoder(model).step(caches, std::span(ids).subspan(9));
    };
    const at::Tensor sound = last_logits([] {});
    Transformer kept = stored_model(flavour, at::kFloat);
    EXPECT_TRUE(
        same_bits(last_logits([&] { spoil(model, chosen, false); }), sound))
        << tiny::name_of(flavour);
    // The control: spoilt weights that are read are seen.
    model = std::move(kept);
    EXPECT_TRUE(last_logits([&] { spoil(model, chosen, true); })
                    .isnan()
                    .all()
                    .item<bool>());
  }
}

}  // namespace
}  // namespace annuli
