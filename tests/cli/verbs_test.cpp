// What every verb has in common, and the verbs that read no model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "program.h"
#include "tiny_run.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kText = "tests/data/village";

class Verbs : public ::testing::Test {
 protected:
  Outcome run(const std::vector<std::string>& arguments) {
    return run_program(arguments, scratch_.path());
  }
  // The JSON that a verb prints; it must succeed and be silent on stderr.
  json run_json(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return json::parse(outcome.out, nullptr, false);
  }
  ScratchFolder scratch_;
};

TEST_F(Verbs, VersionNamesTheProgramAndLibTorch) {
  const Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out,
              ::testing::MatchesRegex("annuli [0-9.]+ \\(torch [0-9.]+\\)\n"));
}

TEST_F(Verbs, HelpListsEveryVerbAndEveryVerbHasAnExample) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const std::string verb :
       {"run", "plan", "grow", "verify", "inspect", "evaluate", "generate",
        "tokenize", "export", "report", "env"}) {
    EXPECT_THAT(help.out, HasSubstr("  " + verb + " "));
    const Outcome own = run({verb, "--help"});
    EXPECT_EQ(own.status, 0) << verb;
    EXPECT_THAT(own.out,
                ::testing::ContainsRegex("Examples?:\n  annuli " + verb + " "));
  }
}

// The entry of that name.
json named(const json& list, const std::string& name) {
  for (const json& entry : list) {
    if (entry.at("name") == name) return entry;
  }
  return {};
}

TEST_F(Verbs, CommandsAreListedWithTheTypesOfTheirOptions) {
  const Outcome outcome = run({"--commands"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const json verbs = json::parse(outcome.out).at("verbs");
  const std::string help = run({"--help"}).out;
  for (const json& verb : verbs) {
    EXPECT_THAT(help, HasSubstr("  " + verb.at("name").get<std::string>()));
  }
  const json operators = named(verbs, "grow").at("verbs");
  const json widen = named(operators, "widen");
  EXPECT_EQ(named(widen.at("arguments"), "parent").at("required"), true);
  const json noise = named(widen.at("options"), "noise-snr-db");
  EXPECT_EQ(noise.at("type"), "number");
  EXPECT_EQ(noise.at("default"), "10");
  EXPECT_EQ(noise.at("none"), true);
  EXPECT_EQ(named(widen.at("options"), "hidden").at("type"), "integer");
  EXPECT_EQ(named(widen.at("options"), "text").at("many"), true);
  EXPECT_EQ(named(widen.at("options"), "force").at("type"), "flag");
  const json tensors =
      named(named(operators, "perturb").at("options"), "tensors");
  EXPECT_EQ(tensors.at("type"), "word");
  EXPECT_EQ(tensors.at("joined"), true);
  EXPECT_THAT(tensors.at("words"), ::testing::Contains("router"));
  const json run_options = named(verbs, "run").at("options");
  EXPECT_EQ(named(run_options, "watch").at("value"), "PORT");
  EXPECT_EQ(named(run_options, "resume").count("value"), 0);
}

TEST_F(Verbs, UsageNamesWhatFollowsOnEveryLevel) {
  EXPECT_THAT(run({"--help"}).out, HasSubstr("Usage: annuli VERB ...\n"));
  const std::string grow = run({"grow", "--help"}).out;
  EXPECT_THAT(grow, HasSubstr("Usage: annuli grow OPERATOR ...\n"));
  for (const std::string name : {"upcycle", "widen", "deepen", "expand-experts",
                                 "merge-experts", "chain"}) {
    const std::string help = run({"grow", name, "--help"}).out;
    EXPECT_THAT(help, HasSubstr("Usage: annuli grow " + name + " [OPTIONS] "));
    // A sentence, which says what is kept.
    std::string sentence = help.substr(0, help.find("\nUsage:"));
    std::ranges::replace(sentence, '\n', ' ');
    EXPECT_THAT(sentence, ::testing::MatchesRegex("[A-Z].* kept.*\\."));
  }
}

// But for examples, which are lines to be copied.
TEST_F(Verbs, HelpHasLinesOfEightyColumns) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"run"},
                                             {"plan"},
                                             {"grow"},
                                             {"grow", "widen"},
                                             {"grow", "upcycle"},
                                             {"grow", "chain"},
                                             {"verify"},
                                             {"evaluate"},
                                             {"generate"},
                                             {"tokenize"},
                                             {"export"},
                                             {"inspect"},
                                             {"report"}}) {
    std::vector<std::string> command = words;
    command.push_back("--help");
    const std::string help = run(command).out;
    std::istringstream lines(help.substr(0, help.find("\nExample")));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 80u) << line;
    }
  }
}

TEST_F(Verbs, PlanHelpListsTheFieldsOfAPlan) {
  const Outcome outcome = run({"run", "--plan-help"});
  EXPECT_EQ(outcome.status, 0);
  for (const char* field : {"noise_snr_db", "max_steps", "layer_map"}) {
    EXPECT_THAT(outcome.out, HasSubstr(field));
  }
}

// A path may hold any bytes, JSON may not.
TEST_F(Verbs, PathsThatAreNotUtf8) {
  const std::string tokens = scratch_.file("t\xff.tokens");
  const std::string shown = scratch_.file("t\xef\xbf\xbd.tokens");
  const json made =
      run_json({"tokenize", kText, "--tokenizer", "bytes", "--out", tokens});
  EXPECT_EQ(made.at("path"), shown);
  EXPECT_EQ(run_json({"inspect", tokens}).at("path"), shown);
}

TEST_F(Verbs, EnvSaysWhatTheProgramRunsOn) {
  const json env = run_json({"env"});
  EXPECT_GE(env.at("threads").get<int>(), 1);
  EXPECT_GT(env.at("memory_bytes").get<int64_t>(), 0);
  EXPECT_THAT(env.at("torch_library").get<std::string>(),
              HasSubstr("libtorch_cpu"));
  EXPECT_TRUE(env.at("mkl_dispatch").get<bool>());
  const Outcome text = run({"env"});
  EXPECT_THAT(text.out, HasSubstr(env.at("torch").get<std::string>()));
}

TEST_F(Verbs, TokenizeMakesATokenFileOnceAndInspectReadsIt) {
  const std::string out = scratch_.file("village.tokens");
  const std::vector<std::string> verb = {"tokenize", kText,   "--tokenizer",
                                         "bytes",    "--out", out};
  const json first = run_json(verb);
  // A byte a token, and the end of text after each document.
  EXPECT_EQ(first.at("tokens").get<int64_t>(),
            first.at("text_bytes").get<int64_t>() +
                first.at("documents").get<int64_t>());
  EXPECT_EQ(first.at("documents"), 12);
  EXPECT_FALSE(first.at("reused").get<bool>());
  EXPECT_TRUE(run_json(verb).at("reused").get<bool>());
  EXPECT_THAT(run(verb).out, StartsWith("up to date"));

  const json description = run_json({"inspect", out});
  EXPECT_EQ(description.at("format"), "tokens");
  EXPECT_EQ(description.at("tokens"), first.at("tokens"));
  EXPECT_EQ(description.at("tokenizer_hash"), first.at("tokenizer_hash"));
  EXPECT_THAT(run({"inspect", out}).out, HasSubstr("token file"));
}

TEST_F(Verbs, TokenizeForceMakesItAnew) {
  std::vector<std::string> verb = {"tokenize", kText,   "--tokenizer",
                                   "bytes",    "--out", scratch_.file("t")};
  run_json(verb);
  verb.push_back("--force");
  EXPECT_FALSE(run_json(verb).at("reused").get<bool>());
}

TEST_F(Verbs, AFinishedRunPrintsItsTableAndLeavesItsFiles) {
  for (const char* file :
       {"plan.yaml", "training_history.jsonl", "lineage.json",
        "verify/moe.json", "samples/dense.txt"}) {
    EXPECT_TRUE(fs::exists(tiny_run() / file)) << file;
  }
  // A copy: a run holds its folder's lock, and tests run side by side.
  const fs::path copy = scratch_.path() / "run";
  fs::copy(tiny_run(), copy, fs::copy_options::recursive);
  const auto before = fs::last_write_time(copy / "training_history.jsonl");
  const Outcome again =
      run({"run", (copy / "plan.yaml").string(), "--out", copy.string()});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("finished run"));
  EXPECT_THAT(again.out, HasSubstr("large"));
  EXPECT_EQ(fs::last_write_time(copy / "training_history.jsonl"), before);
}

TEST_F(Verbs, InspectShowsARun) {
  const json run = run_json({"inspect", tiny_run().string()});
  EXPECT_EQ(run.at("format"), "run");
  EXPECT_TRUE(run.at("finished").get<bool>());
  ASSERT_EQ(run.at("phases").size(), 4u);
  for (const json& phase : run.at("phases")) {
    EXPECT_EQ(phase.at("steps"), 3);
    EXPECT_TRUE(phase.at("ended").get<bool>());
    EXPECT_TRUE(fs::exists(phase.at("checkpoint").get<std::string>()));
  }
  const json moe = run.at("phases").at(1).at("verdicts").at("growth");
  EXPECT_GT(moe.at("of").get<int>(), 3);
  EXPECT_EQ(moe.at("passed"), moe.at("of"));
  EXPECT_GE(run.at("lineage").at("records").size(), 8u);
  const Outcome text = this->run({"inspect", tiny_run().string()});
  EXPECT_THAT(text.out, HasSubstr("finished"));
  EXPECT_THAT(text.out, HasSubstr("3/3"));
  EXPECT_THAT(text.out, HasSubstr("upcycle"));
}

// Noise 100 dB below the weights lets copies differ by 1e-5 of their
// gradients, too little to part.
TEST_F(Verbs, ARunThatFailsACheckStopsWithOneLineAndCanBeInspected) {
  const std::string folder = scratch_.file("run");
  const Outcome stopped =
      run({"run", "--set", "phases.2.grow.widen.noise_snr_db=100", "--set",
           "data.cache_dir=" + scratch_.file("tokens"), "--out", folder,
           "plans/tiny.yaml"});
  EXPECT_EQ(stopped.status, 1) << stopped.err;
  EXPECT_EQ(std::ranges::count(stopped.err, '\n'), 1);
  EXPECT_THAT(stopped.err, HasSubstr("symmetry_breaking failed"));

  const json run = run_json({"inspect", folder});
  EXPECT_FALSE(run.at("finished").get<bool>());
  EXPECT_EQ(run.at("resumes_from").at("phase"), "moe");
  EXPECT_EQ(run.at("resumes_from").at("step"), 3);
  const json& phases = run.at("phases");
  EXPECT_FALSE(phases.at(1).at("checkpoint").is_null());
  EXPECT_TRUE(phases.at(2).at("checkpoint").is_null());
  const json medium = phases.at(2).at("verdicts").at("growth");
  EXPECT_LT(medium.at("passed"), medium.at("of"));
  EXPECT_THAT(this->run({"inspect", folder}).out, HasSubstr("not finished"));
}

TEST_F(Verbs, InspectShowsATrainingState) {
  const std::string state = (tiny_run() / "state").string();
  const json description = run_json({"inspect", state});
  EXPECT_EQ(description.at("format"), "training_state");
  EXPECT_TRUE(description.at("progress").contains("step"));
  EXPECT_THAT(run({"inspect", state}).out, HasSubstr("plan_hash"));
}

}  // namespace
}  // namespace annuli::test
