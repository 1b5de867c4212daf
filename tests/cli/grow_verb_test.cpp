// annuli grow and annuli export, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/json.h"
#include "program.h"
#include "tests/support/thread_sanitizer.h"
#include "tests/support/tiny_model.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Grow : public ::testing::Test {
 protected:
  Grow() {
    save_folder(tiny::model(tiny::config({.gated = true}), at::kFloat),
                scratch_.path() / "parent");
  }

  std::string path(const std::string& name) const {
    return scratch_.file(name);
  }

  Outcome run(const std::vector<std::string>& arguments,
              const Surroundings& surroundings = {}) {
    return run_program(arguments, scratch_.path(), surroundings);
  }

  Outcome grow(std::vector<std::string> arguments,
               const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), "grow");
    return run(arguments, surroundings);
  }

  // The growth of `parent` into `out`, on a small probe.
  Outcome grow_into(const std::string& out, std::vector<std::string> arguments,
                    const Surroundings& surroundings = {}) {
    const std::vector<std::string> always = {
        path("parent"), "--out", path(out), "--windows", "2", "--length", "32"};
    arguments.insert(arguments.end(), always.begin(), always.end());
    return grow(arguments, surroundings);
  }

  void expect_refused(const Outcome& outcome, const std::string& why) {
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(names(), (std::vector<std::string>{"parent"}));
  }

  void expect_refused_flag(std::vector<std::string> flags,
                           const std::string& why) {
    flags.insert(flags.begin(), "perturb");
    const Outcome outcome = grow_into("no", flags);
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_FALSE(fs::exists(path("no")));
  }

  // What lies in the scratch folder.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& item : fs::directory_iterator(scratch_.path())) {
      names.push_back(item.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  ScratchFolder scratch_;
};

TEST_F(Grow, WidensAndProves) {
  const Outcome outcome =
      grow_into("child", {"widen", "--factor", "2", "--head", "fold", "--json",
                          path("report.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("functional_identity"));
  const ModelFile child(path("child"));
  EXPECT_EQ(child.config().hidden_size, 48);
  EXPECT_TRUE(child.config().tie_word_embeddings);
  EXPECT_FALSE(child.lineage()->back().verdicts.empty());
  const Json report = read_json(path("report.json"));
  EXPECT_EQ(report.at("child"), content_hash(child));
  EXPECT_EQ(report.at("parent"), content_hash(ModelFile(path("parent"))));
}

TEST_F(Grow, EveryOperatorAndSharding) {
  const std::vector<std::vector<std::string>> steps = {
      {"upcycle", "--num-experts", "4"},
      {"deepen", "--preset", "stack", "--add-layers", "3"},
      {"deepen", "--layer-map", "0,0,1,2"},
      {"deepen", "--layer-map", "[0, 0,1,2]"},
      {"perturb", "--tensors", "attention,embedding"},
      {"deepen", "--weights", "random", "--add-layers", "2"},
      {"untie"},
      {"shrink-perturb", "--loss-budget", "9"},
      {"extend", "--max-position-embeddings", "4096"},
      {"widen", "--noise-snr-db", "none", "--max-shard-size", "100kB"}};
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string out = std::to_string(i);
    const Outcome outcome = grow_into(out, steps[i]);
    EXPECT_EQ(outcome.status, 0) << out << outcome.out << outcome.err;
    EXPECT_TRUE(ModelFile(path(out)).faults().empty()) << out;
  }
  EXPECT_TRUE(fs::exists(path("9") + "/model.safetensors.index.json"));
}

TEST_F(Grow, PerturbsProvesReplaysAndVerifies) {
  ASSERT_EQ(grow_into("child", {"perturb", "--relative-std", "0.02", "--json",
                                path("report.json")})
                .status,
            0);
  const Outcome replay =
      grow({"--replay", path("child") + "/lineage.json", path("parent"),
            "--out", path("twin"), "--json", path("again.json")});
  ASSERT_EQ(replay.status, 0) << replay.err;
  Json report = read_json(path("report.json"));
  report["out"] = path("twin");
  EXPECT_EQ(read_json(path("again.json")), report);
  EXPECT_TRUE(read_file(path("twin") + "/model.safetensors") ==
              read_file(path("child") + "/model.safetensors"));
  const std::vector<std::string> verify = {
      "verify", path("parent"), path("child"), "--windows",
      "2",      "--length",     "32"};
  EXPECT_EQ(run(verify).status, 0) << run(verify).out;
  const Outcome dry = grow({"perturb", path("parent"), "--dry-run"});
  EXPECT_THAT(dry.out, HasSubstr("noise of 0.01 of its size"));
  EXPECT_THAT(grow({"perturb", "--help"}).out,
              HasSubstr("attention,feed-forward"));
  expect_refused_flag({"--relative-std", "0"}, "--relative-std");
  expect_refused_flag({"--relative-std", "1.5"}, "--relative-std");
  expect_refused_flag({"--tensors", "attention,norms"},
                      "attention|feed-forward|router|embedding");
  expect_refused_flag({"--tensors", "router"}, "the parent is dense");
}

// The same bytes from the lineage; verified by it, and by the models alone
// where they tell how the child was made.
TEST_F(Grow, NewOperatorsReplayAndVerify) {
  const std::vector<std::vector<std::string>> steps = {
      {"untie", "--head-state", "reset"},
      {"deepen", "--weights", "random", "--outputs", "keep"},
      {"extend", "--max-position-embeddings", "4096"},
      {"extend", "--max-position-embeddings", "4096", "--method", "theta"},
      {"extend", "--max-position-embeddings", "4096", "--method", "linear"},
      {"shrink-perturb", "--loss-budget", "9"}};
  for (const std::vector<std::string>& step : steps) {
    SCOPED_TRACE(testing::PrintToString(step));
    std::vector<std::string> words = step;
    words.emplace_back("--force");
    ASSERT_EQ(grow_into("child", words).status, 0);
    const Outcome replay =
        grow({"--replay", path("child") + "/lineage.json", path("parent"),
              "--out", path("twin"), "--force"});
    ASSERT_EQ(replay.status, 0) << replay.err;
    EXPECT_TRUE(read_file(path("twin") + "/model.safetensors") ==
                read_file(path("child") + "/model.safetensors"));
    const std::vector<std::string> verify = {
        "verify",   path("parent"), path("child"),   "--windows", "2",
        "--length", "32",           "--loss-budget", "9"};
    EXPECT_EQ(run(verify).status, 0) << run(verify).out;
    fs::remove(path("child") + "/lineage.json");
    const Outcome alone = run(verify);
    EXPECT_EQ(alone.status, step[0] == "shrink-perturb" ? 1 : 0)
        << alone.out << alone.err;
  }
}

TEST_F(Grow, NewOperatorsSayWhatTheyDo) {
  const Outcome dry =
      grow({"deepen", path("parent"), "--weights", "random", "--dry-run"});
  EXPECT_THAT(dry.out, HasSubstr("random, standard deviation 0."));
  EXPECT_THAT(dry.out, HasSubstr("ones"));
  EXPECT_THAT(grow({"shrink-perturb", path("parent"), "--dry-run"}).out,
              HasSubstr("times 0.5, noise of 0.1 of its size"));
  EXPECT_THAT(grow({"untie", "--help"}).out, HasSubstr("--head-state"));
  ASSERT_EQ(grow_into("child", {"untie"}).status, 0);
  const Outcome twice = grow({"untie", path("child"), "--out", path("no")});
  EXPECT_EQ(twice.status, 2);
  EXPECT_THAT(twice.err, HasSubstr("a table of its own already"));
  EXPECT_EQ(std::ranges::count(twice.err, '\n'), 1) << twice.err;
  const std::string card = read_file(path("child") + "/README.md");
  EXPECT_THAT(card, HasSubstr("grown by `untie` with `head_state carry`. This "
                              "keeps the function exactly."));
}

// The limit of the loss that a growth is held to.
TEST_F(Grow, TheBudgetIsTheOperatorsUnlessItIsGiven) {
  const auto budget = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--json", path("report.json"), "--force",
                               "--allow", "router_health"});
    const Outcome outcome = grow_into("child", words);
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    const Json verdicts = read_json(path("report.json")).at("verdicts");
    EXPECT_EQ(verdicts.back().at("check"), "boundary_record");
    return verdicts.back().at("limit").get<double>();
  };
  EXPECT_EQ(budget({"upcycle", "--drop-ratio", "0.5"}), 2);
  EXPECT_EQ(budget({"deepen", "--outputs", "keep"}), 0.5);
  EXPECT_EQ(budget({"perturb"}), 0.1);
  EXPECT_EQ(budget({"shrink-perturb"}), 2);
  EXPECT_EQ(budget({"extend", "--max-position-embeddings", "4096"}), 0.5);
  EXPECT_EQ(budget({"upcycle", "--drop-ratio", "0.5", "--loss-budget", "3"}),
            3);
}

TEST_F(Grow, ADryRunWritesNothing) {
  const Outcome outcome =
      grow({"widen", path("parent"), "--out", path("child"), "--dry-run"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("model.safetensors"));
  EXPECT_THAT(outcome.out, HasSubstr("model.layers.*.self_attn.q_proj"));
  EXPECT_EQ(names(), (std::vector<std::string>{"parent"}));
  const Outcome one = grow({"widen", path("parent"), "--dry-run", "--tensor",
                            "model.layers.1.self_attn.q_proj.weight"});
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("\"scale\": 0.5"));
  expect_refused(grow({"widen", path("parent"), "--dry-run", "--tensor",
                       "model.layers.1.self_attn.q_proj.wieght"}),
                 "did you mean 'model.layers.1.self_attn.q_proj.weight'");
}

TEST_F(Grow, ReplaysByteForByte) {
  ASSERT_EQ(grow_into("child", {"widen", "--seed", "7"}).status, 0);
  const Outcome outcome = grow({"--replay", path("child") + "/lineage.json",
                                path("parent"), "--out", path("twin")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const auto& item : fs::directory_iterator(path("child"))) {
    EXPECT_TRUE(read_file(item.path()) ==
                read_file(fs::path(path("twin")) / item.path().filename()))
        << item.path();
  }
}

TEST_F(Grow, AReplayRefusesAnotherParent) {
  ASSERT_EQ(grow_into("child", {"widen"}).status, 0);
  save_folder(tiny::model(tiny::config({.gated = true}), at::kFloat, 2),
              scratch_.path() / "other");
  const Outcome outcome = grow({"--replay", path("child") + "/lineage.json",
                                path("other"), "--out", path("twin")});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("give that parent"));
  EXPECT_FALSE(fs::exists(path("twin")));
}

// A plain copy of the last layer changes the loss by more than nothing.
TEST_F(Grow, AFailedProofLeavesNothing) {
  const Outcome outcome = grow_into(
      "child", {"deepen", "--outputs", "keep", "--loss-budget", "1e-9"});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("boundary_record"));
  EXPECT_EQ(names(), (std::vector<std::string>{"parent"}));
  EXPECT_EQ(grow_into("child", {"deepen", "--outputs", "keep", "--loss-budget",
                                "1e-9", "--allow", "boundary_record"})
                .status,
            0);
}

TEST_F(Grow, BadInputIsOneLine) {
  const std::string parent = path("parent");
  const std::string out = path("child");
  expect_refused(grow({}), "no operator");
  expect_refused(grow({"wieden", parent}), "did you mean 'widen'");
  expect_refused(grow({"widen", parent, "--out", out, "--factr", "2"}),
                 "did you mean '--factor'");
  expect_refused(grow({"widen", parent, "--out", out, "--factor", "1000"}),
                 "--factor");
  expect_refused(grow({"widen", parent, "--out", out, "--head", "cut"}),
                 "untie");
  expect_refused(grow({"deepen", parent, "--out", out, "--layer-map", "0,7"}),
                 "layer");
  expect_refused(grow({"deepen", parent, "--layer-map", "uniform:4"}),
                 "try --preset WORD with --add-layers N");
  expect_refused(grow({"deepen", parent, "--out", out, "--factor", "2"}),
                 "unknown flag '--factor'; try --add-layers N; see");
  expect_refused(grow({"widen", parent, "--hidden-size=64"}), "try --hidden;");
  expect_refused(grow({"upcycle", parent, "--top-k", "2"}),
                 "try --num-experts-per-tok;");
  expect_refused(grow({"widen", parent}), "no --out");
  expect_refused(grow({"widen", parent, "--out", parent}),
                 "the parent " + parent + " is read");
  expect_refused(grow({"widen", path("nothing"), "--out", out}), "nothing");
  expect_refused(grow({"widen", parent, "--out", out, "--max-shard-size", "x"}),
                 "5GB");
}

TEST_F(Grow, AnExistingFolderIsRefusedAndForceReplacesIt) {
  ASSERT_EQ(grow_into("child", {"widen", "--no-verify"}).status, 0);
  const Outcome again = grow_into("child", {"deepen", "--no-verify"});
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  ASSERT_EQ(grow_into("child", {"deepen", "--no-verify", "--force"}).status, 0);
  EXPECT_EQ(ModelFile(path("child")).config().num_hidden_layers, 6);
  EXPECT_EQ(names(), (std::vector<std::string>{"child", "parent"}));
}

// Runs the program until it has begun to write, and sends it the signal.
int status_after_signal(const std::vector<std::string>& words,
                        const fs::path& folder, int signal) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> pointers = {const_cast<char*>(ANNULI_PROGRAM)};
    for (const std::string& word : words) {
      pointers.push_back(const_cast<char*>(word.c_str()));
    }
    pointers.push_back(nullptr);
    ::execv(ANNULI_PROGRAM, pointers.data());
    ::_exit(127);
  }
  const auto has_begun = [&] {
    for (const auto& item : fs::directory_iterator(folder)) {
      if (item.path().filename().string().starts_with("child.tmp-")) {
        return true;
      }
    }
    return false;
  };
  while (!has_begun() && ::waitpid(child, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, signal);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(Grow, InterruptedItLeavesNothingAndKilledItIsTidiedUp) {
  // Large enough to take a while: a probe of many windows.
  const std::vector<std::string> words = {
      "grow",      "widen", path("parent"), "--out", path("child"),
      "--windows", "256",   "--length",     "256"};
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EQ(status_after_signal(words, scratch_.path(), signal),
              128 + signal);
    EXPECT_EQ(names(), (std::vector<std::string>{"parent"}));
  }
  EXPECT_EQ(status_after_signal(words, scratch_.path(), SIGKILL),
            128 + SIGKILL);
  EXPECT_EQ(names().size(), 2) << "what a killed process leaves";
  ASSERT_EQ(grow_into("child", {"widen", "--no-verify"}).status, 0);
  EXPECT_EQ(names(), (std::vector<std::string>{"child", "parent"}));
}

// A limit on the size of files fails as a full disk does.
TEST_F(Grow, AWriteThatFailsIsOneLine) {
  if (kThreadSanitizer) GTEST_SKIP() << "it would not come to our main()";
  expect_refused(
      grow_into("child", {"widen", "--no-verify"}, {.file_bytes = 60'000}),
      "File too large");
}

TEST_F(Grow, ExportsBothWays) {
  const auto exported = [&](const std::string& from, const std::string& to,
                            std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"export", path(from), "--out", path(to)};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return content_hash(ModelFile(path(to)));
  };
  const std::string hash = content_hash(ModelFile(path("parent")));
  EXPECT_EQ(exported("parent", "model.pt"), hash);
  EXPECT_EQ(exported("model.pt", "again"), hash);
  EXPECT_NE(exported("parent", "narrow", {"--dtype", "bf16"}), hash);
  EXPECT_EQ(ModelFile(path("narrow")).entries().front().dtype, at::kBFloat16);
  const Outcome refused =
      run({"export", path("parent"), "--out", path("again")});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--force"));
}

// tests/interop has llama.cpp run them.
TEST_F(Grow, ExportsToGguf) {
  const auto exported = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"export",       path("llama"), "--out",
                                      path("m.gguf"), "--tokenizer", "bytes"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  ModelConfig config = tiny::config({.gated = true});
  config.hidden_act = Activation::kSilu;
  config.vocab_size = 260;
  save_folder(tiny::model(config, at::kFloat), scratch_.path() / "llama");
  EXPECT_EQ(exported({}).status, 0);
  EXPECT_THAT(read_file(scratch_.path() / "m.gguf"), StartsWith("GGUF"));
  EXPECT_THAT(exported({}).err, HasSubstr("--force"));
  EXPECT_EQ(exported({"--force", "--dtype", "q8_0"}).status, 0);
  EXPECT_THAT(exported({"--force", "--dtype", "f64"}).err,
              HasSubstr("expected f32, f16, bf16 or q8_0"));
  // Of another program.
  std::ofstream(scratch_.file("m.gguf")) << "GGUF and so on";
  const Outcome refused = exported({"--force"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_EQ(read_file(scratch_.path() / "m.gguf"), "GGUF and so on");
}

TEST_F(Grow, WhatLlamaCppDoesNotComputeIsNotExported) {
  const auto refusal_of = [&](const ModelConfig& config) {
    save_folder(tiny::model(config, at::kFloat), scratch_.path() / "other");
    const Outcome outcome =
        run({"export", path("other"), "--out", path("other.gguf"),
             "--tokenizer", "bytes", "--force"});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_FALSE(fs::exists(scratch_.path() / "other.gguf"));
    fs::remove_all(scratch_.path() / "other");
    return outcome.err;
  };
  ModelConfig config = tiny::config();
  config.vocab_size = 260;
  EXPECT_THAT(refusal_of(config),
              HasSubstr("found hidden_act gelu, expected relu2"));
  config = tiny::config({.mixture = true});
  config.vocab_size = 260;
  EXPECT_THAT(refusal_of(config), HasSubstr("found model_type annuli_moe"));
  const Outcome folder = run(
      {"export", path("parent"), "--out", path("again"), "--dtype", "q8_0"});
  EXPECT_THAT(folder.err, HasSubstr("expected it with --out NAME.gguf"));
}

TEST_F(Grow, ExportSaysWhatTransformersCannotLoad) {
  save_folder(tiny::model(tiny::config({.mixture = true}), at::kFloat),
              scratch_.path() / "ungated");
  const Outcome outcome =
      run({"export", path("ungated"), "--out", path("out")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("transformers has no class"));
}

}  // namespace
}  // namespace annuli::test
