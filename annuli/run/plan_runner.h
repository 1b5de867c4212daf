#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <optional>
#include <string>

#include "annuli/config/plan.h"
#include "annuli/parallel/solo.h"

// Runs a plan: for each phase grow, prove, train, prove again, write.
//
// What it leaves in the plan's output_dir is described in docs/formats.md.
// Stopping anywhere and resuming continues bit for bit.
namespace annuli::run {

enum class IfPresent {
  kRefuse,  // an unfinished run in the folder is a UserError
  kResume,  // go on with it; start anew if there is none
  kForce,   // throw it away and start anew
};

// Where the time of a step goes, by kernel (profile/profiler.h).
struct ProfileOptions {
  std::string trace;  // empty: profile.json in the run's folder
  int64_t steps = 3;  // of each phase, after its first
};

// Where a run is to pause: after this step of this phase, which is not the
// phase's last.
struct StopPoint {
  size_t phase = 0;
  int64_t step = 0;
};

// Prints as it goes. If the folder holds the finished run of this very plan,
// prints its table and does nothing else (unless forced).
//
// Throws VerdictError when a check stops the run: the previous checkpoint and
// training state stay as they were.
// `plan_file` is where the plan was read: it is kept, as all else that the run
// reads. What was there before is thrown away (kForce) only when the data and
// the first model were read.
// `device`: where to compute instead of where the plan says, for devices that
// plans have no word for.
// `group`: the processes that share the run, each of which calls this with the
// same plan. It gives the bits of one process (docs/parallel.md). UserError on
// all if they differ in plan, program or data, or if the batches have no parts
// for them; LostProcess if one of them is lost.
// `stop`: the state there is saved and the run left unfinished, to be resumed;
// one that is beyond it already does nothing. Returns where it stands then,
// nullopt if it is finished.
std::optional<StopPoint> run_plan(
    const Plan& plan, const std::filesystem::path& plan_file,
    IfPresent if_present, const std::optional<ProfileOptions>& profile = {},
    std::optional<at::Device> device = {},
    parallel::ProcessGroup& group = parallel::solo(),
    const std::optional<StopPoint>& stop = {});

}  // namespace annuli::run
