#include "annuli/run/rollback.h"

#include <fmt/core.h>

#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/run/console.h"
#include "annuli/run/records.h"

namespace annuli::run {
namespace {

// Where the run was when it failed.
struct Failure {
  std::string phase;
  int64_t step = 0;
  int64_t rollbacks = 0;
  double lr_factor = 1;
};

// The state to go back to.
std::optional<SavedRun> find_way_back(RunningPlan& run,
                                      const Failure& failure) {
  const fs::path folder = run.folder().state();
  const auto load = [&](int64_t skip) {
    return load_run_state(folder, run.plan(), run.device(), run.group(), skip);
  };
  const std::optional<Json> newest = load_progress(folder);
  if (!newest) return std::nullopt;
  const bool failed_from_it = newest->at("after_rollback").get<bool>() &&
                              newest->at("rollbacks") == failure.rollbacks;
  std::optional<SavedRun> saved = load(failed_from_it ? 1 : 0);
  return saved ? std::move(saved) : load(0);
}

std::vector<Json> rollbacks_in(const fs::path& history) {
  std::vector<Json> lines = train::read_history(history);
  std::erase_if(lines, [](const Json& line) {
    return line.value("type", "") != "rollback";
  });
  return lines;
}

// Enters the state, which cuts the history; the rollbacks that it told of stay.
void enter(RunningPlan& run, const RunState& state) {
  if (!run.is_writer()) return run.enter(state);
  const fs::path history = run.folder().history();
  const auto before = rollbacks_in(history);
  run.enter(state);
  for (size_t i = rollbacks_in(history).size(); i < before.size(); ++i) {
    run.history().append(before[i]);
  }
}

}  // namespace

void roll_back(RunningPlan& run, std::optional<RunState>& state,
               const std::string& reason) {
  const Failure failure{.phase = run.phase(*state).name,
                        .step = state->step,
                        .rollbacks = state->rollbacks,
                        .lr_factor = state->lr_factor};
  if (failure.rollbacks == run.plan().max_rollbacks) {
    throw VerdictError(fmt::format("{}; {} rollbacks have not helped", reason,
                                   failure.rollbacks));
  }
  state.reset();
  kernels::give_back_memory();
  std::optional<SavedRun> saved = find_way_back(run, failure);
  run.group().barrier();  // nothing is changed before all have read it
  if (!saved) {
    throw VerdictError(
        fmt::format("{}; no state was saved to go back to", reason));
  }
  state = std::move(saved->state);
  state->after_rollback = true;
  state->rollbacks = failure.rollbacks + 1;
  state->lr_factor = failure.lr_factor * run.plan().rollback_lr_factor;
  enter(run, *state);
  const Json line = rollback_json(failure.phase, failure.step, reason,
                                  run.phase(*state).name, *state);
  print_rollback(line);
  run.history().append(line);
  run.note_place(*state);
  // It takes the place of the saved one and of those that were no good, so that
  // the ones before stay.
  std::vector<fs::path> replaced = std::move(saved->skipped);
  replaced.push_back(saved->folder);
  run.save(*state, std::ssize(replaced));
  if (!run.is_writer()) return;
  for (const fs::path& folder : replaced) fs::remove_all(folder);
}

}  // namespace annuli::run
