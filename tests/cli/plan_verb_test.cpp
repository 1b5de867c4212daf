// annuli plan, and what it foretells against a run that happens.

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "program.h"

namespace annuli::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class PlanVerb : public ::testing::Test {
 protected:
  Outcome run(const std::vector<std::string>& arguments) {
    return run_program(arguments, scratch_.path());
  }
  static size_t lines(const std::string& text) {
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }
  ScratchFolder scratch_;
};

TEST_F(PlanVerb, PrintsEveryPhaseAndMeasuresOnlyIfAsked) {
  const Outcome plain = run({"plan", "plans/tiny.yaml", "--no-measure"});
  EXPECT_EQ(plain.status, 0) << plain.err;
  for (const char* word :
       {"dense", "moe", "medium", "large", "weights", "optimizer", "gradients",
        "activations", "peak memory", "disk"}) {
    EXPECT_THAT(plain.out, HasSubstr(word));
  }
  EXPECT_THAT(plain.out, Not(HasSubstr("GFLOP/s")));
  const Outcome measured = run({"plan", "plans/tiny.yaml"});
  EXPECT_EQ(measured.status, 0) << measured.err;
  EXPECT_THAT(measured.out, HasSubstr("GFLOP/s"));
}

TEST_F(PlanVerb, TellsTheTimeOnAMachineOfASpeedThatIsGiven) {
  const auto seconds = [&](const std::string& speed) {
    const Outcome outcome =
        run({"plan", "plans/tiny.yaml", "--json", "--speed", speed});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return json::parse(outcome.out).at("phases")[0].at("seconds").get<double>();
  };
  EXPECT_DOUBLE_EQ(seconds("1G,1GB"), 2 * seconds("2G,2GB"));
  EXPECT_THAT(run({"plan", "plans/tiny.yaml", "--speed", "1G,1GB"}).out,
              HasSubstr("at 1 GFLOP/s and the updates at 1.0 GB/s, as given"));
}

TEST_F(PlanVerb, WhatCannotBeReadIsRefusedInOneLine) {
  for (const auto& [flag, text, wanted] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"--speed", "fast", "a second like 300T,2TB"},
           {"--bandwidth", "0", "bytes a second like 1.25GB"},
           {"--latency", "5 parsecs", "a time like 50us"},
           {"--processes", "3", "power of two"}}) {
    const Outcome outcome = run({"plan", "plans/tiny.yaml", flag, text});
    EXPECT_EQ(outcome.status, 2) << flag;
    EXPECT_EQ(lines(outcome.err), 1u) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wanted));
  }
}

TEST_F(PlanVerb, JsonIsAllThatIsPrinted) {
  const Outcome outcome =
      run({"plan", "plans/tiny.yaml", "--no-measure", "--json"});
  EXPECT_EQ(outcome.err, "");
  const json plan = json::parse(outcome.out);
  EXPECT_EQ(plan.at("phases").size(), 4u);
  EXPECT_GT(plan.at("peak_memory_bytes").get<int64_t>(), 0);
}

TEST_F(PlanVerb, SaysNoInOneLineBeforeAnythingIsRun) {
  const Outcome planned = run(
      {"plan", "plans/tiny.yaml", "--no-measure", "--memory-limit", "100MB"});
  EXPECT_EQ(planned.status, 1);
  EXPECT_EQ(lines(planned.err), 1u) << planned.err;
  EXPECT_THAT(planned.err, HasSubstr("phase dense needs"));
  EXPECT_THAT(planned.err, HasSubstr("the memory limit is 100.00 MB"));

  const std::string folder = scratch_.file("run");
  const Outcome started = run(
      {"run", "plans/tiny.yaml", "--out", folder, "--memory-limit", "100MB"});
  EXPECT_EQ(started.status, 1);
  EXPECT_EQ(started.err, planned.err);
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_EQ(
      run({"plan", "plans/tiny.yaml", "--no-measure", "--memory-limit", "16GB"})
          .status,
      0);
}

TEST_F(PlanVerb, ASizeThatIsNoneIsTheUsers) {
  const Outcome outcome =
      run({"plan", "plans/tiny.yaml", "--memory-limit", "16 gigs"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(lines(outcome.err), 1u) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("expected a size like 16GB"));
}

// Sending is hidden in part: a step takes longer than its computing, and less
// than both one after the other.
TEST_F(PlanVerb, AMeasuredStepTellsOneThatSends) {
  std::vector<std::string> words = {"plan", "plans/tiny.yaml", "--processes",
                                    "2",    "--bandwidth",     "1MB"};
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    for (const char* size : {"micro_batch_size=1", "batch_size=2"}) {
      words.insert(words.end(),
                   {"--set", fmt::format("phases.{}.train.{}", phase, size)});
    }
  }
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return run(more);
  };
  const Outcome told = with({"--step-time", "2s", "--json"});
  ASSERT_EQ(told.status, 0) << told.err;
  for (const json& phase : json::parse(told.out).at("phases")) {
    const double sending = phase.at("step_seconds_sending");
    EXPECT_EQ(phase.at("step_seconds"), 2);
    EXPECT_GT(phase.at("step_seconds_together"), 2);
    EXPECT_LT(phase.at("step_seconds_together"), 2 + sending);
  }
  for (const auto& [time, flag] :
       {std::pair("soon", "--json"), std::pair("2s", "--no-measure")}) {
    const Outcome refused = with({"--step-time", time, flag});
    EXPECT_EQ(refused.status, 2);
    EXPECT_EQ(lines(refused.err), 1u) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("--step-time: found"));
  }
}

// Large enough for weights, state and activations to outweigh the program.
std::vector<std::string> of_size(std::vector<std::string> arguments) {
  std::vector<std::string> settings = {
      "model.vocab_size=16384",
      "model.hidden_size=256",
      "model.num_hidden_layers=6",
      "model.intermediate_size=1024",
      "model.num_attention_heads=4",
      "data.sequence_length=256",
      "probe.windows=2",
      "probe.length=256",
      "probe.router_tokens=512",
      "samples.prompts=[]",
      "evaluation.windows=1",
      "allow=[router_health, symmetry_breaking]"};
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    const std::string train = std::string("phases.") + phase + ".train.";
    settings.push_back(train + "max_steps=2");
    settings.push_back(train + "batch_size=4");
  }
  for (const std::string& setting : settings) {
    arguments.insert(arguments.end(), {"--set", setting});
  }
  return arguments;
}

std::vector<double> measured_peaks(const fs::path& history) {
  std::vector<double> peaks;
  std::ifstream file(history);
  for (std::string line; std::getline(file, line);) {
    const json record = json::parse(line);
    if (record.at("type") != "phase") continue;
    peaks.push_back(record.at("peak_memory_bytes"));
  }
  return peaks;
}

// What was foretold and measured of each phase, and of the last one its parts.
class PlanPeaks : public PlanVerb {
 protected:
  // `settings`: of the plan, beside those of its size.
  void compare(const std::vector<std::string>& settings) {
    const auto with = [&](std::vector<std::string> arguments) {
      for (const std::string& setting : settings) {
        arguments.insert(arguments.end(), {"--set", setting});
      }
      return of_size(std::move(arguments));
    };
    const Outcome planned =
        run(with({"plan", "plans/tiny.yaml", "--no-measure", "--json"}));
    ASSERT_EQ(planned.status, 0) << planned.err;
    phases_ = json::parse(planned.out).at("phases");
    const Outcome done =
        run(with({"run", "plans/tiny.yaml", "--out", scratch_.file("run"),
                  "--set", "data.cache_dir=" + scratch_.file("tokens")}));
    ASSERT_EQ(done.status, 0) << done.err;
    peaks_ = measured_peaks(scratch_.path() / "run" / "training_history.jsonl");
    ASSERT_EQ(peaks_.size(), phases_.size());
    for (size_t i = 0; i < peaks_.size(); ++i) {
      const double foretold = phases_[i].at("peak_memory_bytes");
      EXPECT_NEAR(foretold / peaks_[i], 1, 0.08)
          << phases_[i].at("name") << ": foretold " << foretold << ", measured "
          << peaks_[i];
    }
  }
  // Of the last phase.
  void expect_seen_without(const char* part) const {
    const double without =
        phases_.back().at("peak_memory_bytes").get<double>() -
        phases_.back().at(part).get<double>();
    EXPECT_LT(without / peaks_.back(), 0.92) << part;
  }

  json phases_;
  std::vector<double> peaks_;
};

// 8 %: here the program is a tenth of the whole, and what it takes moves by
// some 40 MB with what ran before. (At full size the plan is within 4 %:
// docs/log.md.) Without any one part of the last phase it is not.
TEST_F(PlanPeaks, AreThoseOfARun) {
#ifdef ANNULI_SANITIZED
  GTEST_SKIP() << "the peak would be the sanitizer's, too";
#endif
  compare({});
  for (const char* part :
       {"weight_bytes", "optimizer_bytes", "activation_bytes"}) {
    expect_seen_without(part);
  }
}

// Sums of gradients wait, and activations are those of a quarter.
TEST_F(PlanPeaks, AreThoseOfARunInFourParts) {
#ifdef ANNULI_SANITIZED
  GTEST_SKIP() << "the peak would be the sanitizer's, too";
#endif
  std::vector<std::string> settings;
  for (const char* phase : {"dense", "moe", "medium", "large"}) {
    settings.push_back(
        fmt::format("phases.{}.train.micro_batch_size=1", phase));
  }
  compare(settings);
  expect_seen_without("gradient_bytes");
}

}  // namespace
}  // namespace annuli::test
