#include "annuli/watch/run_status.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace annuli::watch {
namespace {

constexpr double kLeastPatience = 60;
constexpr double kPatienceBetween = 600;
constexpr double kStepsOfPatience = 30;
constexpr double kGrowthsOfPatience = 3;

// Whether the history's last line is of a phase's end, or of a growth step
// behind it, or the last step of a phase is done.
bool is_between_phases(const report::Run& run) {
  const report::Steps& steps = run.history.steps;
  const size_t count = steps.size();
  const std::vector<report::Event>& ends = run.history.phase_ends;
  if (!ends.empty() && ends.back().steps_before == count) return true;
  if (count == 0) return true;
  if (!run.plan) return false;
  const std::string& name = run.history.phases.at(steps.phase.back());
  return std::ranges::any_of(run.plan->phases, [&](const PhasePlan& phase) {
    return phase.name == name && steps.step.back() >= phase.train.max_steps;
  });
}

}  // namespace

RunFacts facts_of(const report::Run& run, const Json& files) {
  RunFacts facts{.finished = files.value("finished", false),
                 .between_phases = is_between_phases(run)};
  for (const Json& verdict : files.value("verdicts", Json::array())) {
    if (verdict.at("outcome") != "fail") continue;
    const auto words =
        fmt::format("{} ({})", verdict.at("check").get<std::string>(),
                    verdict.at("phase").get<std::string>());
    if (std::ranges::find(facts.failed, words) == facts.failed.end()) {
      facts.failed.push_back(words);
    }
  }
  const report::Steps& steps = run.history.steps;
  const size_t count = steps.size();
  for (size_t i = count - std::min(count, kRecentSteps); i < count; ++i) {
    const double rate = steps.columns[report::kTokensPerSecond][i];
    if (rate > 0) {
      facts.longest_step =
          std::max(facts.longest_step, steps.own_tokens[i] / rate);
    }
    if (steps.columns[report::kLossRise][i] > 0) facts.spike = steps.step[i];
  }
  for (const report::Event& growth : run.history.boundaries) {
    const Json& seconds = growth.line.value("seconds", Json());
    if (!seconds.is_number()) continue;
    facts.longest_growth =
        std::max(facts.longest_growth, seconds.get<double>());
  }
  return facts;
}

double patience_of(const RunFacts& facts) {
  const double steps =
      std::max(kLeastPatience, kStepsOfPatience * facts.longest_step);
  if (!facts.between_phases) return steps;
  return std::max(
      {kPatienceBetween, steps, kGrowthsOfPatience * facts.longest_growth});
}

Json status_of(const RunFacts& facts) {
  std::vector<std::string> words;
  if (!facts.trouble.empty()) words.emplace_back("cannot be read");
  if (!facts.failed.empty()) {
    constexpr size_t kMostNamed = 2;
    words.push_back(
        facts.failed.size() <= kMostNamed
            ? fmt::format("failed: {}", fmt::join(facts.failed, ", "))
            : fmt::format("failed: {} checks", facts.failed.size()));
  }
  if (facts.spike)
    words.push_back(fmt::format("spike at step {}", *facts.spike));
  bool alert = !words.empty();
  if (facts.finished) {
    words.emplace_back("ended");
  } else if (facts.quiet_seconds > patience_of(facts)) {
    words.emplace_back("stalled");
    alert = true;
  }
  return {{"words", fmt::format("{}", fmt::join(words, ", "))},
          {"alert", alert},
          {"ended", facts.finished},
          {"trouble", facts.trouble}};
}

}  // namespace annuli::watch
