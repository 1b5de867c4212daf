#include "tests/faults/scenario.h"

#include <fmt/core.h>

#include <fstream>
#include <stdexcept>
#include <utility>

#include "tests/faults/judge.h"
#include "tests/resume/run_outcome.h"

namespace annuli::faults {

// The name of a kind is one word of `kinds`, which '+' joins.
long Scenario::calls(const std::string& kinds) const {
  long total = 0;
  for (const auto& [kind, count] : counts_) {
    const bool named =
        ("+" + kinds + "+").find("+" + kind + "+") != std::string::npos;
    if (named || kinds == "all") total += count;
  }
  return total;
}

void Scenario::make_reference(Script& script) {
  reference_ = script.folder();
  prepare(script);
  Surroundings counting = script.fault("");
  const std::string counts = reference_.string() + ".counts";
  counting.environment["ANNULI_FAULT_COUNTS"] = counts;
  const Outcome outcome = script.run(arguments(script), counting);
  if (outcome.status != 0) {
    throw std::runtime_error("the undisturbed " + name() +
                             " failed: " + outcome.err);
  }
  std::ifstream file(counts);
  std::string kind;
  for (long count = 0; file >> kind >> count;) counts_[kind] = count;
  if (calls("all") == 0) throw std::runtime_error("no call was counted");
}

Training::Training(std::string name, std::string plan, int save_steps,
                   const fs::path& root)
    : name_(std::move(name)),
      plan_(std::move(plan)),
      save_steps_("save_steps=" + std::to_string(save_steps)) {
  Script script(root / (name_ + "-reference"));
  make_reference(script);
}

std::vector<std::string> Training::arguments(const Script& script) const {
  return test::run_arguments(plan_, script.folder(), "run",
                             {"--set", save_steps_, "--resume"});
}

std::string Training::finish(Script& script) const {
  return finish(script, {});
}

std::string Training::finish(Script& script,
                             const std::vector<std::string>& more) const {
  std::vector<std::string> last = arguments(script);
  last.insert(last.end(), more.begin(), more.end());
  return finish_by(script, last,
                   [&](const fs::path& run) { return difference(run); });
}

std::string Training::finish_but_digits(Script& script) const {
  return finish_by(script, arguments(script), [&](const fs::path& run) {
    return run_unlikeness(run, reference() / "run");
  });
}

std::string Training::finish_by(Script& script,
                                const std::vector<std::string>& last,
                                const Judge& judge) const {
  std::string wrong = not_done("the next start", script.run(last));
  if (wrong.empty()) wrong = judge(script.folder() / "run");
  if (wrong.empty()) wrong = leftovers(script.folder());
  return wrong;
}

std::string Training::difference(const fs::path& run) const {
  const std::string wrong = run_difference(run, reference() / "run");
  return wrong.empty() ? checkpoint_difference(run, reference() / "run")
                       : wrong;
}

Growth::Growth(std::vector<std::string> operation, fs::path parent,
               const fs::path& root)
    : operation_(std::move(operation)), parent_(std::move(parent)) {
  Script script(root / ("growth-reference-" + operation_.front()));
  make_reference(script);
}

void Growth::prepare(const Script& script) const {
  fs::copy(parent_, script.folder() / "parent");
}

std::vector<std::string> Growth::arguments(const Script& script) const {
  const fs::path child = script.folder() / "child";
  std::vector<std::string> words = {"grow"};
  words.insert(words.end(), operation_.begin(), operation_.end());
  words.insert(words.end(),
               {(script.folder() / "parent").string(), "--out", child.string(),
                "--windows", "2", "--length", "32"});
  if (fs::exists(child)) words.push_back("--force");
  return words;
}

std::string Growth::finish(Script& script) const {
  const fs::path child = script.folder() / "child";
  std::string wrong;
  if (fs::exists(child)) {
    wrong = not_done("inspecting what is there",
                     script.run({"inspect", child.string()}));
    if (wrong.empty()) wrong = folder_difference(child, reference() / "child");
    if (!wrong.empty()) return "before the next start: " + wrong;
  }
  wrong = not_done("the next start", script.run(arguments(script)));
  // All that may lie in the folder lies in the reference's.
  if (wrong.empty()) wrong = folder_difference(script.folder(), reference());
  return wrong;
}

}  // namespace annuli::faults
