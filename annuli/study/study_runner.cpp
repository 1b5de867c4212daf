#include "annuli/study/study_runner.h"

#include <fmt/ranges.h>
#include <string.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <tuple>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/file_lock.h"
#include "annuli/core/quote.h"
#include "annuli/core/say.h"
#include "annuli/core/stop_request.h"
#include "annuli/parallel/solo.h"
#include "annuli/run/plan_runner.h"
#include "annuli/run/session.h"
#include "annuli/run/stopped.h"

namespace annuli::study {
namespace {

namespace fs = std::filesystem;
using run::IfPresent;

// Names in the folder of a unit.
constexpr const char* kPoint = "point-";
constexpr const char* kTrunk = "trunk";

Plan in_folder(const Plan& plan, const fs::path& folder) {
  Plan moved = plan;
  moved.output_dir = folder.string();
  return moved;
}

// What is not needed once the results are there.
void remove_weights(const fs::path& folder) {
  for (const char* part : {"state", "checkpoints"}) {
    fs::remove_all(folder / part);
  }
}

}  // namespace

StudyRunner::StudyRunner(const Study& study, Results& results, fs::path file,
                         std::vector<std::string> only)
    : study_(study),
      results_(results),
      file_(std::move(file)),
      only_(std::move(only)) {
  for (const std::string& name : only_) {
    if (std::ranges::find(study.arms, name, &Arm::name) != study.arms.end()) {
      continue;
    }
    std::vector<std::string> names;
    for (const Arm& arm : study.arms) names.push_back(arm.name);
    user_error("running the study {}: found no arm {}, expected one of {}",
               study.name, quote(name), fmt::join(names, ", "));
  }
}

bool StudyRunner::runs(const Arm& arm) const {
  return only_.empty() || std::ranges::find(only_, arm.name) != only_.end();
}

// What others have in hand may be what the next runs here wait for.
void StudyRunner::run() {
  constexpr std::chrono::milliseconds kPause{200};
  for (;;) {
    if (take_one()) continue;
    results_.read();
    if (has_all()) break;
    if (const int signal = stop_requested(); signal != 0) {
      leave(signal);
    }
    std::this_thread::sleep_for(kPause);
  }
  for (const Arm& arm : study_.arms) {
    if (!runs(arm) || best_rate(arm)) continue;
    say("study {}: no rate of arm {} ended; it has no curve\n", study_.name,
        arm.name);
  }
}

// The run at hand has said the same of itself, with another command.
void StudyRunner::leave(int signal) const {
  throw run::Stopped(
      signal, fmt::format("stopped by SIG{}, the run at hand is saved; go on "
                          "with: annuli study {}",
                          ::sigabbrev_np(signal), file_.string()));
}

// False if there is none that nobody has in hand.
bool StudyRunner::take_one() {
  for (const Unit& unit : units()) {
    if (!is_missing(unit)) continue;
    const fs::path folder = folder_of(unit);
    fs::create_directories(folder);
    const auto lock = FileLock::try_lock(folder);
    if (!lock) continue;
    results_.read();
    if (is_missing(unit)) {
      run_unit(unit);
      return true;
    }
  }
  return false;
}

// Trials, and curves of arms whose rate is known, seed by seed.
std::vector<StudyRunner::Unit> StudyRunner::units() const {
  std::vector<Unit> all;
  for (const Arm& arm : study_.arms) {
    if (!needs_trials(arm)) continue;
    for (const Trial& trial : trials_of(arm)) {
      const Job whole = job(arm, trial);
      all.push_back({.whole = whole, .points = {whole}});
    }
  }
  size_t most_seeds = 0;
  for (const Arm& arm : study_.arms) {
    most_seeds = std::max(most_seeds, seeds_of(study_, arm).size());
  }
  for (size_t i = 0; i < most_seeds; ++i) {
    for (const Arm& arm : study_.arms) {
      const std::vector<int64_t>& seeds = seeds_of(study_, arm);
      if (!runs(arm) || i >= seeds.size()) continue;
      const std::optional<double> rate = best_rate(arm);
      if (rate) all.push_back(curve_of(arm, *rate, seeds[i]));
    }
  }
  return all;
}

// An arm none of whose trials ended has all that it will have.
bool StudyRunner::has_all() const {
  const std::vector<Unit> all = units();
  if (std::ranges::any_of(all, [&](const Unit& u) { return is_missing(u); })) {
    return false;
  }
  return std::ranges::all_of(study_.arms, [&](const Arm& arm) {
    if (!runs(arm)) return true;
    const Arm& tried =
        arm.rate_of.empty() ? arm : find_arm(study_, arm.rate_of);
    return std::ranges::all_of(trials_of(tried), [&](const Trial& trial) {
      return !has_trials(tried) || !is_missing(job(tried, trial));
    });
  });
}

std::optional<double> StudyRunner::best_rate(const Arm& arm) const {
  if (!arm.rate_of.empty()) return best_rate(find_arm(study_, arm.rate_of));
  const std::vector<Trial> trials = trials_of(arm);
  if (trials.size() == 1) return trials.front().rate;
  std::optional<double> best;
  double lowest = 0;
  for (const Trial& trial : trials) {
    const Result* found = result(arm, trial);
    if (found == nullptr) return std::nullopt;
    if (!found->bits_per_byte) continue;
    if (!best || *found->bits_per_byte < lowest) {
      best = trial.rate;
      lowest = *found->bits_per_byte;
    }
  }
  return best;
}

const Result* StudyRunner::result(const Arm& arm, const Trial& trial) const {
  return results_.find(arm.name, job(arm, trial).hash);
}

const Job& StudyRunner::job(const Arm& arm, const Trial& trial) const {
  const auto [place, is_new] = jobs_.try_emplace(
      std::tuple(arm.name, trial.seed, trial.rate, trial.point));
  Job& job = place->second;
  if (is_new) {
    job = {.arm = &arm, .trial = trial, .plan = arm_plan(study_, arm, trial)};
    job.hash = plan_hash(job.plan);
  }
  return job;
}

bool StudyRunner::has_trials(const Arm& arm) const {
  return arm.rate_of.empty() && arm.rates.size() > 1;
}

// Of its own, or for an arm that takes its rate.
bool StudyRunner::needs_trials(const Arm& arm) const {
  return has_trials(arm) &&
         std::ranges::any_of(study_.arms, [&](const Arm& other) {
           return runs(other) &&
                  (other.name == arm.name || other.rate_of == arm.name);
         });
}

// An arm without rates has its plan's.
std::vector<Trial> StudyRunner::trials_of(const Arm& arm) const {
  const int64_t seed = seeds_of(study_, arm).front();
  if (arm.rates.empty()) {
    const Plan plan = arm_plan(study_, arm, {.seed = seed});
    return {{.seed = seed, .rate = plan.phases.front().train.learning_rate}};
  }
  std::vector<Trial> trials;
  for (const double rate : arm.rates) {
    trials.push_back({.seed = seed, .rate = rate});
  }
  return trials;
}

StudyRunner::Unit StudyRunner::curve_of(const Arm& arm, double rate,
                                        int64_t seed) const {
  Unit unit{.whole = job(arm, {.seed = seed, .rate = rate})};
  for (const double point : points_of(study_, arm)) {
    unit.points.push_back(
        job(arm, {.seed = seed, .rate = rate, .point = point}));
  }
  return unit;
}

bool StudyRunner::is_missing(const Job& job) const {
  return results_.find(job.arm->name, job.hash) == nullptr;
}

bool StudyRunner::is_missing(const Unit& unit) const {
  return std::ranges::any_of(unit.points,
                             [&](const Job& job) { return is_missing(job); });
}

// Of another plan it is another one.
fs::path StudyRunner::folder_of(const Unit& unit) const {
  const Job& job = unit.whole;
  return fs::path(study_.output_dir) / job.arm->name /
         fmt::format("rate-{:.2e}-seed-{}-{}", *job.trial.rate, job.trial.seed,
                     job.hash.substr(0, 8));
}

// A run that has ended before, as a trial, is made once more to branch from,
// for its history is of use.
void StudyRunner::run_unit(const Unit& unit) {
  const fs::path folder = folder_of(unit);
  const fs::path trunk = is_missing(unit.whole) ? folder : folder / kTrunk;
  bool goes_on = true;
  for (const Job& job : unit.points) {
    if (!is_missing(job)) continue;
    if (!goes_on) {
      record(job, {}, "its run failed before this point");
    } else if (job.hash == unit.whole.hash) {
      run_to_end(job, folder);
    } else {
      goes_on =
          run_branch(unit.whole, job, trunk,
                     folder / fmt::format("{}{:.4g}", kPoint, job.trial.point));
    }
  }
  remove_weights(folder);
  remove_weights(trunk);
}

void StudyRunner::run_to_end(const Job& job, const fs::path& folder) {
  say("study {}: arm {}, seed {}, rate {:.2e}, {:.0f} % of the operations\n",
      study_.name, job.arm->name, job.trial.seed, *job.trial.rate,
      100 * job.trial.point);
  std::string failure;
  try {
    run::run_plan(in_folder(job.plan, folder), file_, IfPresent::kResume);
  } catch (const run::Stopped& stopped) {
    leave(stopped.signal());
  } catch (const VerdictError& error) {
    failure = error.what();
    say("study {}: arm {} failed: {}\n", study_.name, job.arm->name, failure);
  }
  record(job, folder, failure);
}

// False if the run that is to be copied failed before. A copy is whole once it
// has its name.
bool StudyRunner::run_branch(const Job& whole, const Job& branch,
                             const fs::path& trunk, const fs::path& folder) {
  const std::optional<run::StopPoint> stop = branch_point(branch.plan);
  if (stop && !fs::exists(folder)) {
    if (!pause(whole, trunk, *stop)) {
      record(branch, {}, "its run failed before this point");
      return false;
    }
    const fs::path half = folder.string() + ".copy";
    fs::remove_all(half);
    fs::create_directories(half);
    for (const auto& entry : fs::directory_iterator(trunk)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(kPoint) || name == kTrunk) continue;
      fs::copy(entry.path(), half / name, fs::copy_options::recursive);
    }
    fs::rename(half, folder);
  }
  run_to_end(branch, folder);
  remove_weights(folder);
  return true;
}

// False if the run failed before. A run that is beyond the point, because
// points were added, begins anew.
bool StudyRunner::pause(const Job& whole, const fs::path& trunk,
                        const run::StopPoint& stop) {
  const Plan plan = in_folder(whole.plan, trunk);
  const auto run_to = [&](IfPresent present) {
    const auto at =
        run::run_plan(plan, file_, present, {}, {}, parallel::solo(), stop);
    return at && at->phase == stop.phase && at->step == stop.step;
  };
  say("study {}: arm {}, seed {}, rate {:.2e}, up to step {} of phase {}\n",
      study_.name, whole.arm->name, whole.trial.seed, *whole.trial.rate,
      stop.step, plan.phases[stop.phase].name);
  try {
    const bool is_there =
        run_to(IfPresent::kResume) || run_to(IfPresent::kForce);
    ANNULI_CHECK(is_there, "a run did not stop where it was to");
    return true;
  } catch (const run::Stopped& stopped) {
    leave(stopped.signal());
  } catch (const VerdictError& error) {
    say("study {}: arm {} failed: {}\n", study_.name, whole.arm->name,
        error.what());
    return false;
  }
}

void StudyRunner::record(const Job& job, const fs::path& folder,
                         const std::string& failure) {
  Result result = failure.empty() ? result_of_run(folder) : Result();
  result.arm = job.arm->name;
  result.seed = job.trial.seed;
  result.rate = *job.trial.rate;
  result.point = job.trial.point;
  result.plan_hash = job.hash;
  result.flops = flops_of(job.plan);
  result.source_flops = flops_of(job.plan, /*source=*/true);
  result.failure = failure;
  result.session = run::session_json(parallel::solo());
  results_.add(result);
}

}  // namespace annuli::study
