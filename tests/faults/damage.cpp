#include "tests/faults/damage.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "annuli/core/file.h"
#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    if (item.is_regular_file() && item.file_size() > 0) {
      files.push_back(item.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

std::vector<std::string> inspecting(const Script& script) {
  return {"inspect", (script.folder() / "run").string()};
}

// A run that is killed on its way.
Outcome begin_run(const Training& training, Script& script,
                  const CounterRng& rng) {
  const auto calls = static_cast<uint64_t>(training.calls("all"));
  const uint64_t number = calls / 3 + rng.below(1, calls / 2);
  return script.run(training.arguments(script),
                    script.fault(fmt::format("all:{}:kill-after", number)));
}

// The checkpoints that are not as they should be, of which `annuli inspect`
// must say so.
std::string judge_checkpoints(const Training& training, Script& script) {
  const fs::path folder = script.folder() / "run/checkpoints";
  for (const auto& item :
       fs::directory_iterator(training.reference() / "run/checkpoints")) {
    const fs::path file = folder / item.path().filename();
    if (fs::exists(file) && read_file(file) == read_file(item.path())) continue;
    const Outcome outcome = script.run({"inspect", file.string()});
    if (outcome.status == 0) {
      return "inspect finds nothing wrong with " + file.filename().string();
    }
    const std::string wrong = bad_ending(outcome);
    if (!wrong.empty()) return "inspect: " + wrong;
  }
  return "";
}

// Damages one of the case's files, and says which.
std::string damage_any(Script& script, Damage damage, const CounterRng& rng) {
  const std::vector<fs::path> files = files_below(script.folder());
  const fs::path& file = files[rng.below(2, files.size())];
  damage_file(file, damage, rng, script);
  return fs::relative(file, script.folder()).string() + " damaged: ";
}

// Neither refused nor the same as before.
std::string changed(const std::string& doing, const Outcome& outcome,
                    const Outcome& before) {
  if (outcome.status == 2) return bad_ending(outcome);
  if (outcome.status != 0) return not_done(doing, outcome);
  return outcome.out == before.out ? "" : doing + " shows something else";
}

Result damage_unfinished(const Training& training, Script& script,
                         Damage damage, const CounterRng& rng) {
  const Outcome begun = begin_run(training, script, rng);
  if (begun.status != kKilled) return {0, bad_ending(begun)};
  const std::string what = damage_any(script, damage, rng);
  const Outcome outcome = script.run(training.arguments(script));
  if (outcome.status == 2) return {1, bad_ending(outcome)};
  std::string lost = not_done("the next start", outcome);
  if (lost.empty()) {
    lost =
        run_difference(script.folder() / "run", training.reference() / "run");
  }
  if (lost.empty()) lost = judge_checkpoints(training, script);
  return {1, lost.empty() ? "" : what + lost};
}

Result damage_finished(const Training& training, Script& script, Damage damage,
                       const CounterRng& rng) {
  const std::vector<std::string> start = training.arguments(script);
  script.run(start);
  const Outcome shown = script.run(start);
  const Outcome inspected = script.run(inspecting(script));
  const std::string what = damage_any(script, damage, rng);
  const Outcome outcome = script.run(start);
  // A summary that is no more makes a finished run an unfinished one.
  std::string lost;
  if (outcome.out != shown.out && outcome.status == 0) {
    lost =
        run_difference(script.folder() / "run", training.reference() / "run");
  } else {
    lost = changed("the next start", outcome, shown);
  }
  if (lost.empty()) {
    lost = changed("inspect", script.run(inspecting(script)), inspected);
  }
  if (lost.empty()) lost = judge_checkpoints(training, script);
  return {1, lost.empty() ? "" : what + lost};
}

}  // namespace

void damage_file(const fs::path& file, Damage damage, const CounterRng& rng,
                 Script& script) {
  const uint64_t at = rng.below(10, fs::file_size(file));
  if (damage == Damage::kCut) {
    fs::resize_file(file, at);
    script.note(fmt::format("truncate -s {} {}", at, file.string()));
    return;
  }
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const int byte = stream.get() ^ static_cast<int>(1 + rng.below(11, 255));
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(static_cast<char>(byte));
  script.note(
      fmt::format("printf '\\x{:02x}' | dd of={} bs=1 seek={} conv=notrunc",
                  byte, file.string(), at));
}

Result damage_run(const Training& training, Script& script, Damage damage,
                  const CounterRng& rng) {
  return rng.below(0, 2) == 0 ? damage_unfinished(training, script, damage, rng)
                              : damage_finished(training, script, damage, rng);
}

}  // namespace annuli::faults
