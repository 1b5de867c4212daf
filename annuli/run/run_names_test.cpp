#include "annuli/run/run_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "tests/cli/program.h"

namespace annuli::run {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Plan tiny_plan(const std::vector<std::string>& overrides = {}) {
  return load_plan(std::string(ANNULI_SOURCE_DIR) + "/plans/tiny.yaml",
                   overrides);
}

TEST(RunNames, AreAllThatTheRunLeavesButItsStates) {
  EXPECT_THAT(
      names_of(tiny_plan()),
      ElementsAre(
          "checkpoints/dense_model.pt", "checkpoints/large_moe_final.pt",
          "checkpoints/medium_moe_final.pt", "checkpoints/moe_model_final.pt",
          "checkpoints/moe_model_init.pt", "lineage.json", "plan.yaml",
          "samples/dense.txt", "samples/large.txt", "samples/medium.txt",
          "samples/moe.txt", "sessions.jsonl", "summary.json",
          "training_history.jsonl", "verify/large.json", "verify/medium.json",
          "verify/moe.json"));
  for (const std::string& name : names_of(tiny_plan({"samples.prompts=[]"}))) {
    EXPECT_FALSE(name.starts_with("samples/")) << name;
  }
}

// Without a manifest: the plan's names, if the history beside it is of that
// plan.
TEST(RunNames, OfAnEarlierRunFollowItsRecords) {
  const test::ScratchFolder scratch;
  const fs::path& folder = scratch.path();
  const auto write = [&](const std::string& name, const std::string& text) {
    write_file_atomically(folder / name, text);
  };
  EXPECT_THAT(names_of_earlier_run(folder), IsEmpty()) << "no history";
  write("training_history.jsonl", R"({"type": "step", "phase": "dense"})"
                                  "\n");
  EXPECT_THAT(names_of_earlier_run(folder), IsEmpty()) << "no plan";
  write("plan.yaml", to_yaml(tiny_plan()));
  EXPECT_EQ(names_of_earlier_run(folder), names_of(tiny_plan()));
  for (const char* line :
       {R"({"type": "step", "phase": "moe"})", R"({"type": "step"})",
        R"({"phase": "dense"})", R"({"type": "step", "phase": 3})", R"([1])",
        "notes of mine", ""}) {
    write("training_history.jsonl", std::string(line) + "\n");
    EXPECT_THAT(names_of_earlier_run(folder), IsEmpty()) << line;
  }
  std::string deep(200'000, '[');
  deep.back() = '\n';
  write("training_history.jsonl", deep);
  EXPECT_THAT(names_of_earlier_run(folder), IsEmpty()) << "too deep";
  write("plan.yaml", "phases: nonsense\n");
  write("training_history.jsonl", R"({"type": "step", "phase": "dense"})"
                                  "\n");
  EXPECT_THAT(names_of_earlier_run(folder), IsEmpty()) << "no plan of ours";
}

// Each of these is kept out of what the run replaces, under its own name.
TEST(RunNames, InputsAreAllThatAPlanNames) {
  const test::ScratchFolder scratch;
  const auto make = [&](const std::string& name) {
    fs::create_directories(scratch.path() / name);
    write_file_atomically(scratch.path() / name / "file.txt", "words");
    return scratch.path() / name;
  };
  Plan plan = tiny_plan();
  plan.model.from = make("from");
  plan.tokenizer = make("tokenizer");
  plan.data.cache_dir = make("cache");
  plan.data.text = {make("text")};
  plan.phases[1].grow = GrowPlan();
  plan.phases[1].grow->merge_experts.emplace();
  plan.phases[1].grow->merge_experts->with = {make("with")};
  const auto reading = [&](const Plan& of, const std::string& name) {
    try {
      inputs_of(of, make("plan") / "file.txt")
          .keep_out_of(scratch.path() / name, "testing");
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("is not read");
  };
  EXPECT_THAT(reading(plan, "from"), HasSubstr("model.from"));
  EXPECT_THAT(reading(plan, "tokenizer"), HasSubstr("tokenizer"));
  EXPECT_THAT(reading(plan, "cache"), HasSubstr("data.cache_dir"));
  EXPECT_THAT(reading(plan, "text"), HasSubstr("data.text"));
  EXPECT_THAT(reading(plan, "plan"), HasSubstr("the plan"));
  EXPECT_THAT(reading(plan, "with"), HasSubstr("merge_experts.with"));
  // The first step of a chain has the parents.
  plan.phases[1].grow = GrowPlan();
  plan.phases[1].grow->chain.resize(1);
  plan.phases[1].grow->chain[0].merge_experts.emplace();
  plan.phases[1].grow->chain[0].merge_experts->with = {make("with")};
  EXPECT_THAT(reading(plan, "with"), HasSubstr("merge_experts.with"));
  // Tokens that are there take the place of the text.
  plan.data.tokens = make("tokens");
  EXPECT_THAT(reading(plan, "tokens"), HasSubstr("data.tokens"));
  EXPECT_EQ(reading(plan, "text"), "is not read");
}

}  // namespace
}  // namespace annuli::run
