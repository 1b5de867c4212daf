#include "annuli/run/resume.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "annuli/checkpoint/state_folder.h"
#include "annuli/config/plan_changes.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/notice.h"
#include "annuli/core/say.h"
#include "annuli/parallel/agree.h"

namespace annuli::run {
namespace {

std::string meaning_of(ChangeEffect effect, const PhasePlan& phase,
                       int64_t step) {
  switch (effect) {
    case ChangeEffect::kAhead:
      return "that phase has not begun and will run as the plan says now";
    case ChangeEffect::kNow:
      return fmt::format("holds from here on, after step {} of phase {}", step,
                         phase.name);
    case ChangeEffect::kBehind:
      return "what was done so far was done without it";
  }
  return "";
}

// The plan is compared before gigabytes are read.
void accept_changes(const Json& progress, const Plan& plan,
                    const fs::path& folder) {
  const size_t phase = progress.at("phase");
  const int64_t step = progress.at("step");
  const auto changes =
      plan_changes(progress.at("plan"), hashed_json(plan), phase,
                   progress.at("phase_ended").get<bool>());
  for (const PlanChange& change : changes) {
    if (change.effect != ChangeEffect::kBehind) continue;
    user_error(
        "resuming from {}: the plan has changed: {}: {}; resume with the plan "
        "that the run began with (plan.yaml beside it), or start over with "
        "--force",
        folder.string(), to_text(change), meaning_of(change.effect, {}, step));
  }
  for (const PlanChange& change : changes) {
    say("the plan has changed: {}: {}\n", to_text(change),
        meaning_of(change.effect, plan.phases.at(phase), step));
  }
  const auto ends =
      early_ends_from(progress.value("early_ends", Json::array()));
  const int64_t max_steps =
      with_early_ends(plan, ends).phases.at(phase).train.max_steps;
  if (step > max_steps) {
    user_error(
        "resuming from {}: it stands after step {} of phase {}, which now ends "
        "after step {}; ask for more steps, or start over with --force",
        folder.string(), step, plan.phases[phase].name, max_steps);
  }
}

void name_damaged(const std::vector<DamagedState>& damaged) {
  for (const DamagedState& state : damaged) {
    warn("the training state {} is damaged ({}); going on from the one before",
         state.folder.string(), state.fault);
    set_aside(state.folder);
  }
}

}  // namespace

std::optional<RunState> resume(RunFolder& folder, const Plan& plan,
                               at::Device device,
                               parallel::ProcessGroup& group) {
  group.work_at("reading the state to go on from");
  const std::optional<Json> peek = load_progress(folder.state());
  std::optional<SavedRun> saved;
  if (peek) {
    accept_changes(*peek, plan, folder.state());
    saved = load_run_state(folder.state(), plan, device, group);
  }
  // From here on all have read.
  parallel::require_equal(
      group, {{"the newest whole state in " + folder.root().string(),
               saved ? saved->folder.string() : "none"}});
  if (!saved) return std::nullopt;
  if (folder.is_writer()) name_damaged(saved->damaged);
  // An older state: what is behind it may be another part of the plan.
  if (!saved->damaged.empty()) {
    accept_changes({{"plan", saved->plan},
                    {"phase", saved->state.phase},
                    {"step", saved->state.step},
                    {"phase_ended", saved->state.phase_ended},
                    {"early_ends", to_json(saved->state.early_ends)}},
                   plan, folder.state());
  }
  return std::move(saved->state);
}

}  // namespace annuli::run
