// annuli grow with several steps, and with several parents, as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/json.h"
#include "program.h"
#include "tests/support/tiny_model.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

class GrowChain : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const {
    return scratch_.file(name);
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }

  // A dense model in a folder of that name.
  void save(const std::string& name, const tiny::Flavour& flavour = kLlama,
            uint64_t seed = 1) const {
    save_folder(tiny::model(tiny::config(flavour), at::kFloat, seed),
                path(name));
  }

  Outcome grow(Words words, const Words& more = {}) {
    words.insert(words.begin(), "grow");
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, scratch_.path());
  }

  // On a small probe.
  void expect_grown(const Words& words) {
    const Outcome outcome = grow(words, {"--windows", "2", "--length", "32"});
    ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  }

  void expect_refused(const Outcome& outcome, const std::string& why) {
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_FALSE(fs::exists(path("child")));
  }

  void expect_same_folder(const std::string& a, const std::string& b) const {
    for (const auto& item : fs::directory_iterator(path(a))) {
      EXPECT_TRUE(read_file(item.path()) ==
                  read_file(fs::path(path(b)) / item.path().filename()))
          << item.path();
    }
  }

  // The growth of `child` once more.
  void expect_replayed(const std::string& parent) {
    const Outcome outcome = grow({"--replay", path("child") + "/lineage.json",
                                  path(parent), "--out", path("twin")});
    ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    expect_same_folder("child", "twin");
  }

  static constexpr tiny::Flavour kLlama{.gated = true,
                                        .num_key_value_heads = 2};
  static constexpr tiny::Flavour kQwen3{
      .gated = true, .tied = false, .qk_norm = true, .num_key_value_heads = 2};
  static constexpr const char* kSteps =
      "- upcycle: {num_experts: 4, num_experts_per_tok: 2}\n"
      "- widen: {factor: 2, noise_snr_db: 10}\n"
      "- deepen: {preset: stack, add_layers: 3}\n";

  ScratchFolder scratch_;
};

// What follows the header, which holds operator and arguments.
std::string weights_of(const fs::path& folder) {
  const std::string file = read_file(folder / "model.safetensors");
  uint64_t header = 0;
  std::copy_n(file.data(), sizeof(header), reinterpret_cast<char*>(&header));
  return file.substr(sizeof(header) + header);
}

TEST_F(GrowChain, IsItsStepsOneByOneWithTheSameSeed) {
  write("steps.yaml", kSteps);
  for (const tiny::Flavour& flavour : {kLlama, kQwen3}) {
    const std::string name = tiny::name_of(flavour);
    const auto at = [&](const char* step) { return path(name + step); };
    save(name, flavour);
    expect_grown({"upcycle", path(name), "--out", at("1"), "--seed", "7",
                  "--num-experts", "4"});
    expect_grown({"widen", at("1"), "--out", at("2"), "--seed", "7"});
    expect_grown({"deepen", at("2"), "--out", at("3"), "--seed", "7",
                  "--preset", "stack"});
    expect_grown({"chain", path("steps.yaml"), path(name), "--out", at("chain"),
                  "--seed", "7"});
    EXPECT_TRUE(weights_of(at("3")) == weights_of(at("chain"))) << name;
    EXPECT_EQ(read_json(at("3") + "/config.json"),
              read_json(at("chain") + "/config.json"));
    const ModelFile chain(at("chain"));
    EXPECT_EQ(content_hash(chain), content_hash(ModelFile(at("3"))));
    EXPECT_EQ(chain.lineage()->size(), 1);
    EXPECT_FALSE(chain.lineage()->back().verdicts.empty());
    // Another seed is another child.
    expect_grown({"chain", path("steps.yaml"), path(name), "--out", at("other"),
                  "--seed", "8"});
    EXPECT_FALSE(weights_of(at("3")) == weights_of(at("other")));
  }
}

TEST_F(GrowChain, IsReadFromAListOrAKeyDryRunAndReplayed) {
  save("parent");
  write("list.yaml", kSteps);
  write("key.yaml", "chain: [upcycle: {num_experts: 4}, widen: {}]\n");
  const Outcome dry =
      grow({"chain", path("list.yaml"), path("parent"), "--dry-run", "--tensor",
            "model.layers.1.self_attn.q_proj.weight"});
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("\"scale\": 0.5"));
  expect_grown({"chain", path("key.yaml"), path("parent"), "--out",
                path("child"), "--max-shard-size", "100kB"});
  expect_replayed("parent");
}

TEST_F(GrowChain, AMeanOrthogonalRouterComesFirst) {
  save("parent");
  write("late.yaml",
        "[deepen: {}, upcycle: {router: mean-orthogonal, num_experts: 4}]\n");
  const std::string parent = path("parent");
  expect_refused(
      grow({"chain", path("late.yaml"), parent, "--out", path("child")}),
      "never made");
}

TEST_F(GrowChain, AFileThatIsNoChainIsOneLine) {
  save("parent");
  const Words rest = {path("parent"), "--out", path("child")};
  const auto refused = [&](const std::string& text, const std::string& why) {
    write("steps.yaml", text);
    expect_refused(grow({"chain", path("steps.yaml")}, rest), why);
  };
  refused("widen: {factor: 2}\n", "expected a list of operators");
  refused("[]\n", "expected a list of operators");
  refused("- wieden: {}\n", "did you mean 'widen'");
  refused("- widen: {}\n  deepen: {}\n", "2 operators");
  refused("- upcycle: {num_experts: 4}\n- upcycle: {}\n",
          "expected a dense one");
  expect_refused(grow({"chain", path("nothing.yaml")}, rest), "nothing.yaml");
}

TEST_F(GrowChain, MergesSeveralParentsAndReplays) {
  save("base", kLlama, 1);
  save("code", kLlama, 2);
  save("math", kLlama, 3);
  const std::string with = path("code") + "," + path("math");
  expect_grown({"merge-experts", path("base"), "--with", with, "--out",
                path("child"), "--loss-budget", "100"});
  const ModelFile child(path("child"));
  EXPECT_EQ(child.config().num_experts, 3);
  const LineageRecord& record = child.lineage()->back();
  ASSERT_EQ(record.parents.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    const char* names[] = {"base", "code", "math"};
    EXPECT_EQ(record.parents[i], content_hash(ModelFile(path(names[i]))));
  }
  expect_replayed("base");
}

TEST_F(GrowChain, VerifyTellsTheParentsOfAMerge) {
  save("base", kLlama, 1);
  save("code", kLlama, 2);
  save("math", kLlama, 3);
  expect_grown({"merge-experts", path("base"), "--with",
                path("code") + "," + path("math"), "--out", path("child"),
                "--loss-budget", "100"});
  const auto verify_with = [&](const Words& with) {
    Words words = {"verify",   path("base"), path("child"),   "--windows", "2",
                   "--length", "32",         "--loss-budget", "100"};
    words.insert(words.end(), with.begin(), with.end());
    return run_program(words, scratch_.path());
  };
  const auto verify = [&](const char* second, const char* third) {
    return verify_with({"--with", path(second), "--with", path(third)});
  };
  // Where they were, if they are not named.
  EXPECT_EQ(verify_with({}).status, 0);
  const Outcome missing = verify_with({"--with", path("code")});
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, HasSubstr("from 3 models, found 2"));
  const Outcome right = verify("code", "math");
  EXPECT_EQ(right.status, 0) << right.out << right.err;
  const Outcome swapped = verify("math", "code");
  EXPECT_EQ(swapped.status, 1) << swapped.out << swapped.err;
  EXPECT_THAT(swapped.err, HasSubstr("tensor_audit"));
  // Nor is the swapped pair what the growth began with.
  const Outcome replayed =
      grow({"--replay", path("child") + "/lineage.json", path("base"), "--with",
            path("math") + "," + path("code"), "--out", path("twin")});
  EXPECT_EQ(replayed.status, 2);
  EXPECT_THAT(replayed.err, HasSubstr("give that parent"));
}

TEST_F(GrowChain, ParentsOfDifferentShapesAreRefused) {
  save("base", kLlama);
  save("other", {.gated = true, .num_key_value_heads = 4});
  const Words rest = {"--out", path("child")};
  expect_refused(
      grow({"merge-experts", path("base"), "--with", path("other")}, rest),
      "num_key_value_heads 4, expected 2");
  expect_refused(grow({"merge-experts", path("base")}, rest), "with");
  write("late.yaml",
        "[deepen: {}, merge_experts: {with: [" + path("base") + "]}]\n");
  expect_refused(grow({"chain", path("late.yaml"), path("base")}, rest),
                 "merged first");
}

// Of one size, but tokens mean something else.
TEST_F(GrowChain, ParentsOfDifferentVocabulariesAreRefused) {
  save("base", kLlama);
  save("other", kLlama, 2);
  write("base/tokenizer.json", R"({"model": {"vocab": {"a": 0, "b": 1}}})");
  write("other/tokenizer.json", R"({"model": {"vocab": {"a": 1, "b": 0}}})");
  const Words words = {"merge-experts", path("base"), "--with",
                       path("other"),   "--out",      path("child"),
                       "--no-verify"};
  expect_refused(grow(words), "vocabulary");
  write("other/tokenizer.json",
        R"({"padding": null, "model": {"vocab": {"a": 0, "b": 1}}})");
  EXPECT_EQ(grow(words).status, 0);
}

TEST_F(GrowChain, ExpandsExperts) {
  save("parent", {.mixture = true, .gated = true, .num_key_value_heads = 2});
  expect_grown({"expand-experts", path("parent"), "--out", path("child"),
                "--factor", "2"});
  const ModelFile child(path("child"));
  EXPECT_EQ(child.config().num_experts, 8);
  EXPECT_EQ(child.config().num_experts_per_tok, 4);
  expect_replayed("parent");
}

// As many experts a token as before, of a parent that has no biases.
TEST_F(GrowChain, ExpandsExpertsThatAreClosedAtFirst) {
  save("parent", {.mixture = true, .gated = true, .num_key_value_heads = 2});
  Words words = {"expand-experts",  path("parent"), "--out",
                 path("child"),     "--factor",     "2",
                 "--selection-bias"};
  expect_refused(grow(words),
                 "found 4 beside selection_bias, with which no "
                 "copy is chosen at first; expected the "
                 "parent's, 2");
  words.insert(words.end(), {"--num-experts-per-tok", "2"});
  expect_grown(words);
  const ModelFile child(path("child"));
  EXPECT_EQ(child.config().num_experts, 8);
  EXPECT_EQ(child.config().num_experts_per_tok, 2);
  EXPECT_TRUE(child.config().selection_bias);
  expect_replayed("parent");
}

TEST_F(GrowChain, UpcyclesWithARouterOfCentroids) {
  save("parent", kLlama);
  expect_grown({"upcycle", path("parent"), "--out", path("child"),
                "--num-experts", "4", "--router", "centroids",
                "--selection-bias"});
  EXPECT_TRUE(ModelFile(path("child")).config().selection_bias);
  expect_replayed("parent");
}

}  // namespace
}  // namespace annuli::test
