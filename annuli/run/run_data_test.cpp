#include "annuli/run/run_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/generate/generate.h"
#include "annuli/run/samples.h"
#include "tests/cli/program.h"
#include "tests/support/tiny_model.h"

// What a run reads, of the village's text as bytes; and the samples that it
// writes.
namespace annuli::run {
namespace {

class RunDataTest : public testing::Test {
 protected:
  Plan plan(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> overrides = {"data.cache_dir=" +
                                          scratch_.file("tokens")};
    overrides.insert(overrides.end(), more.begin(), more.end());
    Plan plan = load_plan(std::string(ANNULI_SOURCE_DIR) + "/plans/tiny.yaml",
                          overrides);
    plan.data.text = {std::string(ANNULI_SOURCE_DIR) + "/tests/data/village"};
    return plan;
  }

  test::ScratchFolder scratch_;
};

TEST_F(RunDataTest, WindowsAreAsManyAndAsLongAsThePlanSays) {
  RunData data(plan({"evaluation.windows=3", "probe.windows=5",
                     "probe.length=16", "probe.router_tokens=100"}));
  EXPECT_EQ(data.train().sequence_length(), 32);
  EXPECT_EQ(data.train().state(), (data::LoaderState{42, 0}));
  EXPECT_EQ(data.validation().at(0).windows.batch_size, 3);
  EXPECT_EQ(data.validation().at(0).windows.sequence_length, 32);
  const verify::Probe probe = data.probe(at::kCPU);
  ASSERT_EQ(probe.tokens.size(), 5u);
  ASSERT_EQ(probe.targets.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(probe.tokens[i].sizes(), at::IntArrayRef({1, 16}));
    // The same text, a token further.
    EXPECT_TRUE(at::equal(probe.tokens[i].slice(1, 1, 16),
                          probe.targets[i].slice(1, 0, 15)));
    if (i == 0) continue;
    EXPECT_FALSE(at::equal(probe.tokens[i], probe.tokens[i - 1]));
  }
  // A hundred tokens are seven windows of sixteen.
  EXPECT_EQ(probe.router_tokens.sizes(), at::IntArrayRef({7, 16}));
  EXPECT_EQ(RunData(plan({"probe.router_tokens=64"}))
                .probe(at::kCPU)
                .router_tokens.size(0),
            2);
}

// More than the text holds is all that it holds.
TEST_F(RunDataTest, WindowsAreNoMoreThanThereAre) {
  const RunData data(plan({"evaluation.windows=1000000", "probe.windows=4096",
                           "probe.router_tokens=16777216"}));
  const int64_t held_out = data.validation().at(0).windows.batch_size;
  EXPECT_GT(held_out, 8);
  EXPECT_LT(held_out, 1000000);
  const verify::Probe probe = data.probe(at::kCPU);
  EXPECT_EQ(std::ssize(probe.tokens), held_out);
  // A quarter is held out, three quarters are the router's.
  EXPECT_GT(probe.router_tokens.size(0), 2 * held_out);
}

TEST_F(RunDataTest, NothingIsEvaluatedIfThePlanDoesNotAsk) {
  EXPECT_EQ(RunData(plan({"evaluation.windows=0"})).validation().size(), 0u);
}

// A token of `bytes` is a byte, but for the one that ends a document.
TEST_F(RunDataTest, ATokenStandsForSoManyBytes) {
  const double bytes = RunData(plan()).bytes_per_token();
  EXPECT_GT(bytes, 0.95);
  EXPECT_LE(bytes, 1);
}

Plan mixed(Plan plan) {
  const std::string village =
      std::string(ANNULI_SOURCE_DIR) + "/tests/data/village/";
  plan.data.text.clear();
  plan.data.mixture = {{{village + "[a-f]*.txt"}, 3},
                       {{village + "[g-z]*.txt"}, 1}};
  return plan;
}

TEST_F(RunDataTest, OfAMixtureEachTextHasItsOwnFileAndHeldOutWindows) {
  RunData data(mixed(
      plan({"evaluation.windows=5", "probe.windows=3", "data.order=epochs"})));
  ASSERT_EQ(data.validation().size(), 2u);
  EXPECT_EQ(data.validation()[0].windows.batch_size, 3);
  EXPECT_EQ(data.validation()[1].windows.batch_size, 2);
  EXPECT_EQ(data.validation()[0].weight, 0.75);
  EXPECT_EQ(data.validation()[1].weight, 0.25);
  EXPECT_EQ(data.probe(at::kCPU).tokens.size(), 3u);
  EXPECT_EQ(data.probe(at::kCPU).router_tokens.size(0), 8);
  EXPECT_GT(data.bytes_per_token(), 0.95);
  EXPECT_LE(data.bytes_per_token(), 1);
  EXPECT_THAT(data.fingerprint(),
              testing::MatchesRegex("[0-9]+ tokens of .*, [0-9]+ tokens of .* "
                                    "by .*"));
  // Windows are of both texts, and each has epochs of its own.
  data.train().next(64);
  const std::vector<double> epochs = data.train().epochs();
  ASSERT_EQ(epochs.size(), 2u);
  EXPECT_GT(epochs[0], 1.5 * epochs[1]);
  // At least one window of each.
  EXPECT_EQ(RunData(mixed(plan({"evaluation.windows=1"}))).validation().size(),
            2u);
}

TEST_F(RunDataTest, TheMaskIsOfTrainingAndEvaluationAlone) {
  RunData data(plan({"data.document_mask=true"}));
  EXPECT_EQ(data.train().windows(0, 1).documents.size(), 32u);
  EXPECT_EQ(data.validation().at(0).windows.documents.size(), 64u);
  EXPECT_TRUE(RunData(plan()).train().windows(0, 1).documents.empty());
  EXPECT_TRUE(RunData(plan()).validation().at(0).windows.documents.empty());
}

TEST_F(RunDataTest, WindowsHaveThePhasesLengthAndThePlaceStays) {
  RunData data(plan({"phases.moe.train.sequence_length=48",
                     "phases.dense.train.sequence_length=24"}));
  EXPECT_EQ(data.train().sequence_length(), 24);
  data.train().next(5);
  data.set_length(48);
  EXPECT_EQ(data.train().sequence_length(), 48);
  EXPECT_EQ(data.train().state(), (data::LoaderState{42, 5}));
  EXPECT_EQ(data.validation().at(0).windows.sequence_length, 32);
  // A text that is too short for a later phase is refused before the first.
  EXPECT_THROW(RunData(plan({"model.max_position_embeddings=100000",
                             "phases.large.train.sequence_length=50000"})),
               UserError);
}

// Without held-out text, proofs and evaluation read what is trained on.
TEST_F(RunDataTest, WithoutAShareHeldOutTheTrainingTextIsRead) {
  const RunData all(plan({"data.validation_fraction=0"}));
  EXPECT_EQ(all.validation().at(0).windows.batch_size, 2);
  EXPECT_GT(all.bytes_per_token(), 0.95);
  // The text's very first words, which a quarter at random does not begin with.
  const RunData part(plan());
  EXPECT_NE(all.validation().at(0).windows.tokens,
            part.validation().at(0).windows.tokens);
}

TEST_F(RunDataTest, SamplesAreThePromptsGreedyAndDrawn) {
  ModelConfig config = tiny::config();
  config.vocab_size = 300;
  const Transformer model = tiny::model(config, at::kFloat);
  const Plan words = plan({"samples.prompts=['The miller ', 'A cat']",
                           "samples.max_new_tokens=12",
                           "samples.temperature=0.75", "samples.top_k=5"});
  const RunData data(words);
  const fs::path path = scratch_.path() / "samples.txt";
  write_samples(path, words, model, data.tokenizer(), data.borders());
  std::string expected;
  for (const std::string prompt : {"The miller ", "A cat"}) {
    const auto continued = [&](double temperature, int64_t top_k) {
      GenerateOptions options;
      options.max_new_tokens = 12;
      options.temperature = temperature;
      options.top_k = top_k;
      options.seed = 42;
      options.stop_ids = data.borders().stops;
      for (int32_t id = 0; id < 300; ++id) {
        if (!data.tokenizer().has_token(id)) options.never_ids.push_back(id);
      }
      EXPECT_FALSE(options.never_ids.empty());
      const TokenIds ids = data.tokenizer().encode(prompt);
      return prompt +
             data.tokenizer().decode(generate(model, ids, options), false);
    };
    expected += "=== " + prompt + "\n--- greedy\n" + continued(0, 0) +
                "\n--- temperature 0.75, top-k 5\n" + continued(0.75, 5) +
                "\n\n";
    EXPECT_NE(continued(0, 0), continued(0.75, 5));
    EXPECT_NE(continued(0.75, 0), continued(0.75, 5));
  }
  EXPECT_EQ(read_file(path), expected);
}

}  // namespace
}  // namespace annuli::run
