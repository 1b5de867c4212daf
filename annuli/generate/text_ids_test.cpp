#include "annuli/generate/text_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "annuli/core/folder_for_tests.h"
#include "annuli/generate/generate.h"
#include "annuli/tokenizer/tiny_tokenizer_for_tests.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

// Tokens 0 to 263 and 266: 264 and 265 are holes.
std::unique_ptr<Tokenizer> tokenizer_with_holes(
    const test::TestFolder& folder) {
  Json json = tiny_tokenizer_json();
  json["model"]["vocab"]["xyz"] = 266;
  return load_tokenizer(folder.write("tokenizer.json", json.dump()));
}

TEST(TextIds, WithoutATokenAreHolesAndPadding) {
  const test::TestFolder folder;
  const auto tokenizer = tokenizer_with_holes(folder);
  EXPECT_THAT(ids_without_token(*tokenizer, 267), ElementsAre(264, 265));
  EXPECT_THAT(ids_without_token(*tokenizer, 269),
              ElementsAre(264, 265, 267, 268));
  EXPECT_THAT(ids_without_token(*tokenizer, 260), IsEmpty());
}

// A random model at temperature 5 draws nearly evenly from 300 ids, of which 35
// are not the tokenizer's: 400 tokens miss all of them with a probability
// around (265/300)^400, 3e-22.
TEST(TextIds, AreNeverDrawn) {
  const test::TestFolder folder;
  const auto tokenizer = tokenizer_with_holes(folder);
  ModelConfig config = tiny::config();
  config.vocab_size = 300;
  const Transformer model = tiny::model(config, at::kFloat);
  const std::vector<int32_t> never = ids_without_token(*tokenizer, 300);
  const auto strangers = [&](GenerateOptions options) {
    const TokenIds ids = generate(model, TokenIds{1, 2}, options);
    EXPECT_EQ(ids.size(), 400u);
    return std::ranges::count_if(
        ids, [&](int32_t id) { return !tokenizer->has_token(id); });
  };
  GenerateOptions options{.max_new_tokens = 400, .temperature = 5, .seed = 3};
  EXPECT_GT(strangers(options), 0);  // the control
  options.never_ids = never;
  EXPECT_EQ(strangers(options), 0);
  options.top_k = 290;  // more than there are tokens
  EXPECT_EQ(strangers(options), 0);
  options.top_p = 0.999999;
  EXPECT_EQ(strangers(options), 0);
}

// Greedy too: the best id is taken out, the second is the choice.
TEST(TextIds, TheGreedyChoiceIsAmongTheTokens) {
  const Transformer model = tiny::model(tiny::config(), at::kFloat);
  GenerateOptions options{.max_new_tokens = 20};
  const TokenIds free = generate(model, TokenIds{1, 2}, options);
  options.never_ids = {free[0], -3, 1 << 20};
  EXPECT_THAT(generate(model, TokenIds{1, 2}, options),
              testing::Not(Contains(free[0])));
}

}  // namespace
}  // namespace annuli
