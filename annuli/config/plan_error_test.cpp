#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"

// Plans that are wrong in one place each: the message is one line that names
// the place, the key, what is found and what is expected.
namespace annuli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Line numbers in the tests count from the line after the R"(.
constexpr const char* kGood = R"(name: good
seed: 1
data: {text: [a.txt]}
model:
  hidden_size: 32
  intermediate_size: 64
  num_hidden_layers: 2
  num_attention_heads: 4
phases:
  - name: first
    train: {max_steps: 3, learning_rate: 1e-3, batch_size: 2}
  - name: second
    grow:
      upcycle: {num_experts: 4}
    train:
      max_steps: 3
      learning_rate: 1e-3
      batch_size: 2
)";

std::string complaint(const std::string& yaml,
                      const std::vector<std::string>& overrides = {}) {
  try {
    parse_plan(yaml, "bad.yaml", overrides);
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  return "no UserError";
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(PlanError, TheGoodPlanIsGood) { EXPECT_NO_THROW(parse_plan(kGood, "")); }

TEST(PlanError, SelectionBiasesAreThereOrNot) {
  EXPECT_THAT(complaint(replaced("      batch_size: 2",
                                 "      batch_size: 2\n"
                                 "      selection_bias_rate: 0.001")),
              HasSubstr("bad.yaml:19: phases.1.train.selection_bias_rate: "
                        "found 0.001, but the phase's model has no selection "
                        "biases"));
  const std::vector<std::string> mixture = {"model.num_experts=4",
                                            "model.num_experts_per_tok=2",
                                            "model.selection_bias=true"};
  const std::string closed =
      replaced("upcycle: {num_experts: 4}",
               "expand_experts: {num_experts_per_tok: 2, "
               "selection_bias: true}");
  EXPECT_THAT(complaint(closed, mixture),
              HasSubstr("phases.1.train.selection_bias_rate: found 0 beside "
                        "expand_experts.selection_bias"));
  std::vector<std::string> moving = mixture;
  moving.push_back("phases.second.train.selection_bias_rate=0.001");
  EXPECT_EQ(complaint(closed, moving), "no UserError");
  moving.push_back("phases.second.grow.expand_experts.num_experts_per_tok=4");
  EXPECT_THAT(complaint(closed, moving),
              HasSubstr("phases.1.grow.expand_experts.num_experts_per_tok: "
                        "found 4 beside selection_bias"));
  EXPECT_THAT(complaint(kGood, {"model.selection_bias=true"}),
              HasSubstr("selection_bias is true in a dense model"));
  EXPECT_THAT(
      complaint(closed, {"model.num_experts=4", "model.num_experts_per_tok=2",
                         "model.family=mixtral", "model.gated=true",
                         "model.selection_bias=true"}),
      HasSubstr("model.selection_bias: found true, expected false for "
                "family 'mixtral'"));
}

struct Replacement {
  const char* from;
  const char* to;
  const char* message;
};

struct Contradiction {
  std::vector<std::string> overrides;
  const char* message;
};

TEST(PlanError, OptimizersAndClippingThatContradict) {
  const Contradiction cases[] = {
      {{"optimizer.type=lion"},
       "optimizer.type: found 'lion', expected one of adamw, adamw_8bit, "
       "adafactor, sgd, muon"},
      {{"optimizer.muon_momentum=0.9"}, "expected it with muon alone"},
      {{"optimizer.type=sgd", "optimizer.muon_scale=keller"},
       "optimizer.muon_scale: found beside optimizer.type sgd"},
      {{"optimizer.muon_scale=adam"},
       "found 'adam', expected one of keller, moonlight"},
      {{"optimizer.groups=[{lr_factor: 2}]"},
       "optimizer.groups.0.parts: found none, expected some, as attention"},
      {{"optimizer.groups=[{parts: [head]}, {parts: [gains, head]}]"},
       "optimizer.groups.1.parts: found head, which groups.0 has"},
      {{"optimizer.groups=[{parts: [head, head]}]"},
       "optimizer.groups.0.parts: found head, which groups.0 has"},
      {{"optimizer.groups=[{parts: [heads]}]"}, "found 'heads'"},
      {{"optimizer.groups=[{parts: [head], lr_factor: -1}]"},
       "optimizer.groups.0.lr_factor: found '-1'"},
      {{"optimizer.groups=[{parts: [head], rate: 2}]"},
       "unknown key 'optimizer.groups.0.rate'"},
      {{"optimizer.momentum=0.9"},
       "optimizer.momentum: found beside optimizer.type adamw, expected it "
       "with sgd alone"},
      {{"optimizer.type=sgd", "optimizer.decay_rate=0.7"},
       "expected it with adafactor alone"},
      {{"optimizer.clip_threshold=2"}, "expected it with adafactor alone"},
      {{"optimizer.scale_parameter=true"}, "expected it with adafactor alone"},
      {{"optimizer.type=sgd", "optimizer.state_dtype=bf16"},
       "optimizer.state_dtype: found bf16 beside optimizer.type sgd"},
      {{"optimizer.type=adamw_8bit", "optimizer.state_dtype=bf16"},
       "found bf16 beside optimizer.type adamw_8bit"},
      {{"precision=fp64", "optimizer.type=adamw_8bit"},
       "optimizer: found state of 16 or 8 bits beside precision fp64"},
      {{"precision=int8-weights", "parallel.shard=full"},
       "parallel.shard: found full with precision int8-weights, expected none"},
      {{"precision=fp64", "optimizer.state_dtype=bf16"},
       "optimizer: found state of 16 or 8 bits beside precision fp64"},
      {{"phases.first.train.clip=two_pass"},
       "phases.0.train.clip: found two_pass without max_grad_norm"},
      {{"phases.first.train.clip=previous_norm",
        "phases.first.train.max_grad_norm=1",
        "phases.first.train.gradient_accumulation_steps=2"},
       "phases.0.train.clip: found previous_norm beside "
       "gradient_accumulation_steps 2"},
  };
  for (const Contradiction& one : cases) {
    EXPECT_THAT(complaint(kGood, one.overrides), HasSubstr(one.message));
  }
}

TEST(PlanError, OptimizersAndClippingThatFit) {
  const std::vector<std::string> cases[] = {
      {"optimizer.type=adamw_8bit"},
      {"optimizer.type=adafactor", "optimizer.scale_parameter=true",
       "optimizer.decay_rate=0.7"},
      {"optimizer.type=sgd", "optimizer.momentum=0.9",
       "optimizer.state_dtype=bf16"},
      {"optimizer.type=muon", "optimizer.state_dtype=bf16",
       "optimizer.muon_momentum=0.9", "optimizer.muon_scale=keller"},
      {"optimizer.groups=[{parts: [head, embedding], lr_factor: 0}, {parts: "
       "[gains], weight_decay: 0.1}]"},
      {"phases.first.train.clip=two_pass",
       "phases.first.train.max_grad_norm=1"},
  };
  for (const auto& overrides : cases) {
    EXPECT_EQ(complaint(kGood, overrides), "no UserError");
  }
}

TEST(PlanError, KeysTypesAndRanges) {
  const Replacement cases[] = {
      {"seed: 1", "sede: 1",
       "reading bad.yaml:2: unknown key 'sede', did you mean 'seed'?"},
      {"      max_steps: 3", "      max_step: 3",
       "bad.yaml:16: unknown key 'phases.1.train.max_step', did you mean "
       "'max_steps'?"},
      {"seed: 1", "zzzzzzzzzzzz: 1", "expected one of name, seed,"},
      {"seed: 1", "seed: one",
       "bad.yaml:2: seed: found 'one', expected an integer, 0 to"},
      {"seed: 1", "seed: 1.5", "found '1.5', expected an integer"},
      {"seed: 1", "seed: 1e3", "found '1e3', expected an integer"},
      {"seed: 1", "seed: '1'", "found the text '1', expected an integer"},
      {"seed: 1", "seed:", "found nothing, expected an integer"},
      {"seed: 1", "seed: [1]", "found a list of 1, expected an integer"},
      {"seed: 1", "seed: {a: 1}", "found a map, expected an integer"},
      {"seed: 1", "seed: -1", "found '-1', expected an integer, 0 to"},
      {"seed: 1", "seed: 99999999999999999999", "expected an integer"},
      {"seed: 1", "precision: fp16",
       "expected one of fp32, fp64, bf16-mixed, bf16"},
      {"seed: 1", "optimizer: {weight_decay: .nan}", "expected a number"},
      {"seed: 1", "optimizer: {weight_decay: 1e999}", "expected a number"},
      {"seed: 1", "optimizer: {adam_beta1: 1}",
       "found '1', expected a number, 0 to below 1"},
      {"seed: 1", "samples: {temperature: 0}",
       "found '0', expected a number, above 0"},
      {"  hidden_size: 32", "  gated: yes\n  hidden_size: 32",
       "bad.yaml:5: model.gated: found 'yes', expected true or false"},
      {"upcycle: {num_experts: 4}", "upcycle: {router: randon}",
       "expected one of random, mean-orthogonal, zero, centroids, did you mean "
       "'random'?"},
      {"upcycle: {num_experts: 4}", "widen: {factor: 0}",
       "phases.1.grow.widen.factor: found '0', expected a number, 1 to 64"},
      {"seed: 1", "data2: 1\nseed: 1", "unknown key 'data2'"},
      {"data: {text: [a.txt]}", "data: a.txt",
       "found 'a.txt', expected a map of text, mixture, text_column, tokens"},
      {"  - name: first", "  - title: first", "unknown key 'phases.0.title'"},
      {"  - name: second\n    grow", "  - grow",
       "bad.yaml:12: phases.1.name is missing"},
      {"      max_steps: 3\n", "", "phases.1.train.max_steps is missing"},
      {"  hidden_size: 32\n", "", "model.hidden_size is missing"},
  };
  for (const auto& bad : cases) {
    const std::string message = complaint(replaced(bad.from, bad.to));
    EXPECT_THAT(message, HasSubstr(bad.message));
    EXPECT_THAT(message, StartsWith("reading bad.yaml:"));
  }
}

TEST(PlanError, FieldsThatContradictEachOther) {
  const Replacement cases[] = {
      {"  - name: first\n", "  - name: first\n    grow: {upcycle: {}}\n",
       "bad.yaml:11: phases.0.grow: found an operator in the first phase"},
      {"upcycle: {num_experts: 4}", "upcycle: {}\n      widen: {}",
       "phases.1.grow: found 2 operators, expected exactly one"},
      {"upcycle: {num_experts: 4}", "merge_experts: {with: [a]}",
       "grow.merge_experts: found it in a training run"},
      {"upcycle: {num_experts: 4}", "chain: [widen: {}, widen: {heads: 5}]",
       "bad.yaml:14: phases.1.grow.chain.1.widen.heads: found 5"},
      {"upcycle: {num_experts: 4}", "widen: {}\n      chain: [deepen: {}]",
       "found 1 operators beside a chain"},
      {"upcycle: {num_experts: 4}", "optimizer: reset",
       "phases.1.grow: found 0 operators"},
      {"upcycle: {num_experts: 4}",
       "upcycle: {num_experts: 2, num_experts_per_tok: 3}",
       "bad.yaml:14: phases.1.grow.upcycle.num_experts_per_tok: found 3"},
      {"  hidden_size: 32",
       "  hidden_size: 32\n  num_experts: 2\n  num_experts_per_tok: 1",
       "phases.1.grow.upcycle: found a parent with 2 experts"},
      {"upcycle: {num_experts: 4}", "deepen: {layer_map: [0, 1, 2]}",
       "layer_map: found layer 2, expected 0 to 1"},
      {"upcycle: {num_experts: 4}", "deepen: {layer_map: [0, -1]}",
       "layer_map.1: found '-1', expected an integer, 0 to"},
      {"upcycle: {num_experts: 4}", "deepen: {layer_map: [0, 0, 0]}",
       "found no layer 1, expected each of the parent's 2"},
      {"upcycle: {num_experts: 4}", "deepen: {layer_map: [1, 0]}",
       "found layer 1 before any 0"},
      {"upcycle: {num_experts: 4}", "deepen: {layer_map: [0, 1, a]}",
       "layer_map.2: found 'a', expected an integer"},
      {"  hidden_size: 32", "  hidden_size: 32\n  tie_word_embeddings: false",
       "no UserError"},
      {"num_attention_heads: 4", "num_attention_heads: 5",
       "bad.yaml:8: model.num_attention_heads: found 5, which does not divide "
       "hidden_size 32"},
      {"num_attention_heads: 4",
       "num_attention_heads: 4\n  num_key_value_heads: 3",
       "model.num_key_value_heads: found 3, expected a divisor"},
      {"num_attention_heads: 4", "num_attention_heads: 4\n  head_dim: 7",
       "model: checking the model: head_dim 7 is odd"},
      {"name: second", "name: first", "found 'first', the name of an earlier"},
      {"name: second", "name: ../up", "phases.1.name: found '../up'"},
      {"name: second", "name: second\n    checkpoint: first.pt",
       "found 'first.pt', which an earlier phase writes"},
      {"name: second", "name: second\n    checkpoint: a/b.pt",
       "phases.1.checkpoint: found 'a/b.pt'"},
      {"name: second", "name: second\n    checkpoint: b.bin",
       "expected a name that ends in .pt"},
      {"name: good", "name: ''", "bad.yaml:1: name: found ''"},
      {"seed: 1", "report_to: [tensorbord]",
       "report_to: found 'tensorbord', expected names of formats: tensorboard"
       ", did you mean 'tensorboard'?"},
      {"seed: 1", "allow: router_helth",
       "allow: found 'router_helth', expected names of checks"},
      {"[a.txt]", "[]", "data.text: found nothing"},
      {"[a.txt]", "[a.txt], tokens: b.bin", "data.tokens: found beside"},
      {"[a.txt]", "[a.txt], text_column: ''",
       "data.text_column: found nothing"},
      {"[a.txt]", "[], tokens: b.bin, split_at: x",
       "data.split_at: found beside data.tokens"},
      {"[a.txt]", "[a.txt], sequence_length: 4096",
       "data.sequence_length: found 4096, expected at most "
       "model.max_position_embeddings, 2048"},
      {"[a.txt]", "[a.txt], mixture: [{text: [b.txt], weight: 1}]",
       "data.mixture: found beside data.text, expected one of the two"},
      {"[a.txt]", "[], tokens: b.bin, mixture: [{text: [b.txt], weight: 1}]",
       "data.mixture: found beside data.tokens, expected one of the two"},
      {"[a.txt]", "[], mixture: [{text: [b], weight: 1}, {text: []}]",
       "data.mixture.1.text: found nothing, expected text files"},
      {"[a.txt]", "[], mixture: [{text: [''], weight: 1}]",
       "data.mixture.0.text: found an empty path"},
      {"[a.txt]", "[], mixture: [{text: [b], weight: 0}]",
       "weight: found '0', expected a number, above 0"},
      {"[a.txt]", "[], mixture: [{weight: 1}]", "text is missing"},
      {"[a.txt]", "[a.txt], order: epoch",
       "data.order: found 'epoch', expected one of random, epochs"},
      {"      max_steps: 3", "      sequence_length: 4096\n      max_steps: 3",
       "train.sequence_length: found 4096, expected at most the "
       "max_position_embeddings of the phase's model, 2048"},
      {"      max_steps: 3", "      warmup_steps: 4\n      max_steps: 3",
       "warmup_steps: found 4, expected at most max_steps, 3"},
  };
  for (const auto& bad : cases) {
    EXPECT_THAT(complaint(replaced(bad.from, bad.to)), HasSubstr(bad.message));
  }
  EXPECT_THAT(complaint(kGood, {"phases=[]"}),
              HasSubstr("reading --set 'phases': phases: found none"));
}

TEST(PlanError, FoldNeedsATiedHead) {
  const std::string fold =
      replaced("upcycle: {num_experts: 4}", "widen: {head: fold}");
  EXPECT_EQ(complaint(fold), "no UserError");
  EXPECT_THAT(complaint(fold, {"model.tie_word_embeddings=false"}),
              HasSubstr("phases.1.grow.widen.head: found fold"));
}

TEST(PlanError, TextThatIsNotAPlan) {
  EXPECT_THAT(complaint(""), HasSubstr("found nothing, expected a map"));
  EXPECT_THAT(complaint("hello"), HasSubstr("bad.yaml:1: found 'hello'"));
  EXPECT_THAT(complaint("- a\n- b"), HasSubstr("found a list of 2"));
  EXPECT_THAT(complaint("a: [1, 2"), StartsWith("reading bad.yaml:"));
  EXPECT_THAT(complaint("a: [1, 2"), HasSubstr("not YAML"));
  EXPECT_THAT(complaint("a: 1\n b: 2"), HasSubstr("bad.yaml:2:"));
  EXPECT_THAT(complaint("a: \"\\q\""), HasSubstr("not YAML"));
  EXPECT_THAT(complaint("a: *nowhere"), HasSubstr("not YAML"));
  EXPECT_THAT(complaint("seed: 1\nname: a\xff"),
              HasSubstr("line 2 holds the byte \\xff, expected text in UTF-8"));
  EXPECT_THAT(complaint("name: a\xed\xa0\x80"),
              HasSubstr("expected text in UTF-8"));
  EXPECT_THAT(complaint("name: \"\\ud800\""), HasSubstr("not YAML"));
  EXPECT_THAT(complaint("a: &x [*x]"), HasSubstr("alias"));
  EXPECT_THAT(complaint("name: !!python/object a"), HasSubstr("found the tag"));
  EXPECT_THAT(complaint("a: 1\n---\nb: 2"), HasSubstr("two YAML documents"));
  EXPECT_THAT(complaint("? [a]\n: 1"), HasSubstr("as a key"));
  EXPECT_THAT(complaint("name: a\nseed: 1\nname: b"),
              HasSubstr("bad.yaml:3: the key 'name' is there twice, first at "
                        "bad.yaml:1"));
  EXPECT_THAT(complaint(std::string(100'000, '[')), HasSubstr("not YAML"));
}

// What yaml-cpp would make into strings that are not UTF-8, which no JSON can
// hold: a NUL as an escape, and two escapes as one byte.
TEST(PlanError, BytesThatAreNoText) {
  using namespace std::string_literals;
  EXPECT_THAT(complaint("seed: 1\nname: a\0N"s),
              HasSubstr("line 2 holds the byte \\x00, expected text in UTF-8"));
  EXPECT_THAT(complaint("name: a\x1b[2J\xff"), HasSubstr("the byte \\x1b"));
  EXPECT_THAT(complaint("a: \"\\\x01\""), HasSubstr("the byte \\x01"));
  for (const std::string escape : {"\\N", "\\_"}) {
    const std::string text = "\"a" + escape + "b\"";
    EXPECT_THAT(complaint(replaced("good", text)),
                HasSubstr("bad.yaml:1: found the escape"));
    EXPECT_THAT(complaint(kGood, {"name=" + text}),
                HasSubstr("found the escape"));
    EXPECT_THAT(complaint(text + ": 1"), HasSubstr("found the escape"));
  }
  EXPECT_EQ(complaint(replaced("a.txt", "\"\\x85\\xa0\\t\"")), "no UserError");
  EXPECT_EQ(complaint(replaced("good", "good\r")), "no UserError");
}

// Ten levels of ten aliases each are 10^10 values.
TEST(PlanError, AliasBombsAreNotExpanded) {
  std::string bomb = "l0: &l0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n";
  for (int level = 1; level <= 10; ++level) {
    bomb += fmt::format("l{0}: &l{0} [", level);
    for (int i = 0; i < 10; ++i) bomb += fmt::format("*l{}, ", level - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(complaint(bomb), HasSubstr("found more than"));
}

// A text of 64 KB, two hundred times.
TEST(PlanError, AliasesOfLongTextsAreCounted) {
  std::string bomb = "text: &t " + std::string(65536, 'x') + "\nlist: [";
  for (int i = 0; i < 200; ++i) bomb += "*t, ";
  EXPECT_THAT(complaint(bomb + "]\n"), HasSubstr("found more than"));
}

TEST(PlanError, Overrides) {
  EXPECT_THAT(complaint(kGood, {"seed"}), HasSubstr("expected key=value"));
  EXPECT_THAT(complaint(kGood, {"=1"}), HasSubstr("expected key=value"));
  EXPECT_THAT(complaint(kGood, {"a..b=1"}), HasSubstr("an empty name"));
  EXPECT_THAT(complaint(kGood, {"seed.x=1"}), HasSubstr("bad.yaml:2"));
  EXPECT_THAT(complaint(kGood, {"phases.9.name=x"}),
              HasSubstr("found '9', expected an index below 2"));
  EXPECT_THAT(complaint(kGood, {"phases.0.train.max_steps=0"}),
              HasSubstr("reading --set 'phases.0.train.max_steps': "));
  EXPECT_THAT(complaint(kGood, {"phases.first.train.steps=0"}),
              HasSubstr("unknown key 'phases.0.train.steps'"));
  EXPECT_THAT(complaint(kGood, {"seed={"}), HasSubstr("not YAML"));
}

TEST(PlanError, FilesThatCannotBeRead) {
  EXPECT_THROW(load_plan("/nowhere/plan.yaml"), UserError);
}

// Any bytes give a UserError or a plan, nothing else.
TEST(PlanError, DamagedTextNeverEscapes) {
  const std::string good = kGood;
  uint64_t state = 1;
  const auto draw = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string text = good;
    for (uint64_t i = 0; i <= draw(3); ++i) {
      const size_t at = draw(text.size());
      const char byte = draw(2) ? "[]{}:,&*!|>-?#'\"\\\n\t %@`~"[draw(24)]
                                : static_cast<char>(draw(256));
      if (draw(2)) {
        text[at] = byte;
      } else {
        text.insert(at, 1, byte);
      }
    }
    try {
      const Plan plan = parse_plan(text, "damaged.yaml");
      EXPECT_TRUE(parse_plan(to_yaml(plan), "again") == plan) << text;
    } catch (const UserError& error) {
      ++refused;
      EXPECT_THAT(error.what(), Not(HasSubstr("\n"))) << text;
    }
  }
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace annuli
