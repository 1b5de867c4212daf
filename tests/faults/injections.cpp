#include "tests/faults/injections.h"

#include <fmt/core.h>

#include <algorithm>

#include "tests/faults/judge.h"

namespace annuli::faults {
namespace {

long random_call(const Scenario& scenario, const std::string& kinds,
                 const CounterRng& rng, uint64_t draw) {
  const auto calls = static_cast<uint64_t>(scenario.calls(kinds));
  return 1 + static_cast<long>(rng.below(draw, std::max<uint64_t>(1, calls)));
}

std::string order(const std::string& kinds, long number,
                  const std::string& action) {
  return fmt::format("{}:{}:{}", kinds, number, action);
}

bool failed(const Script&, const Outcome& outcome) {
  return outcome.status != 0;
}

// The start under a fault, which came if `came` says so, and the one after it.
template <typename Came>
Result start_twice(const Scenario& scenario, Script& script,
                   const Surroundings& faulty, Came came,
                   std::string (Scenario::*finish)(Script&)
                       const = &Scenario::finish) {
  const Outcome outcome = script.run(scenario.arguments(script), faulty);
  Result result{.injected = came(script, outcome), .lost = bad_ending(outcome)};
  if (result.lost.empty()) result.lost = (scenario.*finish)(script);
  return result;
}

uint64_t largest_file(const fs::path& folder) {
  uint64_t largest = 0;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    if (item.is_regular_file()) largest = std::max(largest, item.file_size());
  }
  return largest;
}

}  // namespace

Result kill_at_random(const Scenario& scenario, Script& script,
                      const CounterRng& rng) {
  constexpr const char* kActions[] = {"kill-before", "kill-half", "kill-after"};
  Result result;
  const uint64_t starts = rng.below(0, 4) == 0 ? 2 : 1;
  for (uint64_t i = 0; i < starts && result.lost.empty(); ++i) {
    const long number = random_call(scenario, "all", rng, 1 + 2 * i);
    const char* action = kActions[rng.below(2 + 2 * i, 3)];
    const Outcome outcome = script.run(
        scenario.arguments(script), script.fault(order("all", number, action)));
    result.injected += outcome.status == kKilled;
    result.lost = bad_ending(outcome, true);
  }
  if (result.lost.empty()) result.lost = scenario.finish(script);
  return result;
}

const std::vector<Failure>& failures() {
  static const std::vector<Failure> all = {
      {"disk full", "write+open+mkdir", "full"},
      {"write fails", "write", "EIO"},
      {"short writes", "write", "short"},
      {"interrupted write", "write", "EINTR"},
      {"fsync fails", "sync", "EIO"},
      {"rename fails", "rename", "EIO"},
      {"rename is denied", "rename", "EACCES"},
      {"mmap fails", "map", "ENOMEM"},
      {"truncate fails", "truncate", "EIO"},
      {"no descriptors", "open", "EMFILE"},
      {"file not made", "open", "EROFS"},
      {"folder not made", "mkdir", "ENOSPC"},
      {"removing fails", "remove", "EACCES"},
      {"read-only from then on", "open+write+mkdir+rename+remove", "EROFS+"}};
  return all;
}

Result fail_at_random(const Scenario& scenario, Script& script,
                      const Failure& failure, const CounterRng& rng) {
  if (scenario.calls(failure.calls) == 0) return {};
  const long number = random_call(scenario, failure.calls, rng, 0);
  return start_twice(
      scenario, script,
      script.fault(order(failure.calls, number, failure.action)),
      [](const Script& tried, const Outcome&) { return tried.fault_came(); });
}

Result limit_files(const Scenario& scenario, Script& script,
                   const CounterRng& rng) {
  const uint64_t bound = 1 + rng.below(0, largest_file(scenario.reference()));
  return start_twice(scenario, script,
                     {.largest_file = bound, .out = "/dev/null"}, failed);
}

Result fill_output(const Scenario& scenario, Script& script,
                   const CounterRng& rng) {
  return start_twice(scenario, script, {.out = "/dev/full"}, failed);
}

Result jump_clock(const Scenario& scenario, Script& script,
                  const CounterRng& rng) {
  Surroundings jumps = script.fault(
      order("all", random_call(scenario, "all", rng, 0), "kill-after"));
  jumps.environment["ANNULI_FAULT_CLOCK"] = "1";
  const Outcome killed = script.run(scenario.arguments(script), jumps);
  Result result{.injected = 1, .lost = bad_ending(killed, true)};
  jumps.environment["ANNULI_FAULT"] = "";
  const Outcome whole = script.run(scenario.arguments(script), jumps);
  if (result.lost.empty()) result.lost = not_done("with jumps", whole);
  if (result.lost.empty()) result.lost = scenario.finish(script);
  return result;
}

uint64_t least_memory(const fs::path& root) {
  Script script(root / "least-memory");
  uint64_t low = 0;
  uint64_t high = uint64_t{8} << 30;
  while (high - low > high / 32) {
    const uint64_t middle = low + (high - low) / 2;
    const Outcome outcome =
        script.run({"--version"}, {.address_space = middle, .patience = 2});
    (outcome.status == 0 ? high : low) = middle;
  }
  script.clean();
  return high;
}

Result limit_memory(const Scenario& scenario, Script& script, uint64_t least,
                    const CounterRng& rng) {
  const Surroundings bounded{.address_space = least + rng.below(0, 2 * least)};
  return start_twice(scenario, script, bounded, failed,
                     &Scenario::finish_but_digits);
}

Result vanish_at_random(const Training& training, Script& script,
                        const CounterRng& rng) {
  const fs::path run = script.folder() / "run";
  const fs::path gone = script.folder() / "run.gone";
  Surroundings faulty = script.fault(
      order("all", random_call(training, "all", rng, 0), "vanish"));
  faulty.environment["ANNULI_FAULT_VANISHES"] = run.string();
  const Outcome outcome = script.run(training.arguments(script), faulty);
  if (!fs::exists(gone)) return {0, bad_ending(outcome)};
  Result result{.injected = 1, .lost = bad_ending(outcome)};
  if (!result.lost.empty()) return result;
  const fs::path aside = script.folder() / "run.new";
  if (fs::exists(run)) fs::rename(run, aside);
  fs::rename(gone, run);
  script.note(fmt::format("mv {0} {0}.new; mv {0}.gone {0}", run.string()));
  result.lost = training.finish(script);
  if (!result.lost.empty() || !fs::exists(aside)) return result;
  fs::remove_all(run);
  fs::rename(aside, run);
  script.note(fmt::format("rm -r {0}; mv {0}.new {0}", run.string()));
  const Outcome refused = script.run(training.arguments(script));
  if (refused.status == 2) {
    result.lost = bad_ending(refused);
  } else {
    result.lost = training.finish(script);
  }
  return result;
}

}  // namespace annuli::faults
