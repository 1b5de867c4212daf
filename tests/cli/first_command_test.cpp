// What a new user types first: a verb, a model and the flags that are needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/file.h"
#include "program.h"
#include "tests/support/tiny_model.h"
#include "tiny_run.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

class FirstCommand : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const {
    return scratch_.file(name);
  }
  Outcome run(const Words& words) {
    return run_program(words, scratch_.path());
  }
  // The growth of the tiny run's dense model, or of `parent`.
  Outcome grow(Words words, const std::string& parent = "") {
    words.insert(words.begin(), "grow");
    words.insert(words.end(),
                 {parent.empty() ? tiny_checkpoint("dense_model.pt") : parent,
                  "--out", path("child")});
    return run(words);
  }
  // A model that nothing says how to read text for.
  std::string without_tokenizer() {
    save_folder(tiny::model(tiny::config({.gated = true}), at::kFloat),
                path("bare"));
    return path("bare");
  }
  std::string one_refusal(const Outcome& outcome) {
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_FALSE(fs::exists(path("child")));
    return outcome.err;
  }

  ScratchFolder scratch_;
};

const Words kUpcycle = {"upcycle", "--num-experts", "4",
                        "--num-experts-per-tok", "2"};

TEST_F(FirstCommand, UpcyclesOnTheProgramsOwnText) {
  const Outcome outcome = grow(kUpcycle);
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  // The tiny models have no gate, for which transformers has no mixture.
  EXPECT_THAT(outcome.err, HasSubstr("written as annuli_moe"));
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("probe: 8 windows of 256 tokens of the "
                                     "program's own text"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("warning")));
  const ModelFile child(path("child"));
  const LineageRecord& record = child.lineage()->back();
  EXPECT_EQ(record.arguments.at("router"), "mean-orthogonal");
  EXPECT_EQ(record.replay.at("router_mean").size(), 2);
}

// The means are part of the lineage, whatever text the next program carries.
TEST_F(FirstCommand, AReplayNeedsNoText) {
  ASSERT_EQ(grow(kUpcycle).status, 0);
  const Outcome outcome =
      run({"grow", "--replay", path("child") + "/lineage.json",
           tiny_checkpoint("dense_model.pt"), "--out", path("twin")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const auto& item : fs::directory_iterator(path("child"))) {
    EXPECT_TRUE(read_file(item.path()) ==
                read_file(fs::path(path("twin")) / item.path().filename()))
        << item.path();
  }
}

TEST_F(FirstCommand, WidensDeepensAndVerifiesOnTheSameText) {
  for (const Words& words : {Words{"widen"}, Words{"deepen"}}) {
    const Outcome outcome = grow(words);
    ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("the program's own text"));
    const Outcome verified =
        run({"verify", tiny_checkpoint("dense_model.pt"), path("child")});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    EXPECT_THAT(verified.out, HasSubstr("the program's own text"));
    fs::remove_all(path("child"));
  }
}

TEST_F(FirstCommand, TextReplacesIt) {
  Words words = kUpcycle;
  words.insert(words.end(), {"--text", "tests/data/village"});
  const Outcome outcome = grow(words);
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("tokens of the text"));
}

// Windows are no longer than the model promises to read.
TEST_F(FirstCommand, WindowsFitTheModel) {
  ModelConfig config = tiny::config({.gated = true});
  config.vocab_size = 300;
  config.max_position_embeddings = 48;
  save_folder(tiny::model(config, at::kFloat), path("short"));
  const Outcome outcome =
      grow({"deepen", "--tokenizer", "bytes"}, path("short"));
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8 windows of 48 tokens"));
}

// Of 64 experts a model of 24 features leaves some without a token; on random
// ids that is no reason to stop.
TEST_F(FirstCommand, RandomIdsJudgeNoRouter) {
  const Outcome outcome =
      grow({"upcycle", "--num-experts", "64", "--num-experts-per-tok", "2"},
           without_tokenizer());
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("random tokens"));
  EXPECT_THAT(outcome.out, HasSubstr("--tokenizer"));
  EXPECT_THAT(outcome.out, HasSubstr("warning        router_health"));
}

TEST_F(FirstCommand, ATokenizerThatIsNamedHasToWork) {
  Words words = kUpcycle;
  words.insert(words.end(), {"--tokenizer", path("nothing")});
  EXPECT_THAT(one_refusal(grow(words, without_tokenizer())),
              HasSubstr("nothing"));
}

const Words kTopOne = {"upcycle", "--num-experts", "4", "--num-experts-per-tok",
                       "1"};

TEST_F(FirstCommand, TopOneSaysWhatWillHappenAndWhatToDo) {
  const std::string why = one_refusal(grow(kTopOne));
  EXPECT_THAT(why, HasSubstr("gives the router no gradient"));
  EXPECT_THAT(why, HasSubstr("expected 2 or more"));
  EXPECT_THAT(why, HasSubstr("norm_topk_prob: false"));
  EXPECT_THAT(why, HasSubstr("--allow router_health"));
}

TEST_F(FirstCommand, TopOneThatIsAllowedIsMadeAndRefutedByVerify) {
  Words words = kTopOne;
  words.insert(words.end(), {"--allow", "router_health"});
  const Outcome outcome = grow(words);
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: growing"));
  EXPECT_THAT(outcome.out, HasSubstr("routers whose gate is always 1, of 2"));
  EXPECT_THAT(outcome.out, HasSubstr("FAIL (allowed)"));
  const Outcome verified =
      run({"verify", tiny_checkpoint("dense_model.pt"), path("child")});
  EXPECT_EQ(verified.status, 1) << verified.out;
  EXPECT_THAT(verified.err, HasSubstr("routers whose gate is always 1"));
}

TEST_F(FirstCommand, TopOneOfARawMixtureIsNobodysFault) {
  ModelConfig config = tiny::config({.mixture = true, .gated = true});
  config.num_experts_per_tok = 1;
  config.norm_topk_prob = false;
  config.qk_norm = QkNorm::kHead;
  save_folder(tiny::model(config, at::kFloat), path("raw"));
  const Outcome outcome = grow({"widen"}, path("raw"));
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

class TopOnePlan : public FirstCommand {
 protected:
  // plans/tiny.yaml, its second phase with one expert a token.
  Words words(const Words& verb, const std::string& aux) const {
    Words all = verb;
    all.insert(all.end(),
               {"--set", "phases.1.grow.upcycle.num_experts_per_tok=1", "--set",
                "phases.1.train.router_aux_loss_coef=" + aux});
    return all;
  }
  Words run_words(const std::string& aux) const {
    Words all = words({"run", "plans/tiny.yaml", "--out", path("run")}, aux);
    all.insert(all.end(), {"--set", "data.cache_dir=" + path("tokens")});
    return all;
  }
};

TEST_F(TopOnePlan, IsRefusedBeforeAnythingIsTrained) {
  for (const Words& verb :
       {Words{"plan", "plans/tiny.yaml", "--no-measure"},
        Words{"run", "plans/tiny.yaml", "--out", path("run")}}) {
    const std::string why = one_refusal(run(words(verb, "0.01")));
    EXPECT_THAT(why, HasSubstr("phases.1.grow.upcycle.num_experts_per_tok"));
    EXPECT_THAT(why, HasSubstr("no gradient"));
    EXPECT_FALSE(fs::exists(path("run")));
  }
}

// The balance loss, on by default, moves the router; the check is not taken in.
// A phase of a single step is judged too.
TEST_F(TopOnePlan, ThatIsAllowedFailsAfterThePhaseWhateverTheBalanceLoss) {
  for (const char* aux : {"0.01", "0"}) {
    for (const char* steps : {"3", "1"}) {
      Words all = run_words(aux);
      all.insert(all.end(), {"--allow", "router_health", "--set",
                             std::string("phases.1.train.max_steps=") + steps});
      const Outcome outcome = run(all);
      ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
      EXPECT_THAT(outcome.out,
                  HasSubstr("FAIL (allowed) router_health        router "
                            "gradient of the language-model loss alone: 0 >= "
                            "1e-06"))
          << aux << " " << steps;
      fs::remove_all(path("run"));
    }
  }
}

}  // namespace
}  // namespace annuli::test
