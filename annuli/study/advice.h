#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/model/tensor_table.h"
#include "annuli/study/forecast.h"
#include "annuli/study/student_t.h"
#include "annuli/study/study_runner.h"
#include "annuli/train/loss_slope.h"

// What a run's curve so far, and studies of growth, say of going on and of
// growing. Where they do not know they say so.
namespace annuli::study {

// Of a model that goes on as it is.
struct RunSoFar {
  std::string phase;
  int64_t step = 0;
  ParameterCount parameters;
  double flops = 0;      // spent
  double all_flops = 0;  // of the whole plan
  double until = 0;      // operations at which the plan's rate begins to decay
  bool is_decaying = false;
  std::vector<LossPoint> steps;           // of the phase, at the full rate
  std::optional<train::LossSlope> slope;  // as `until` has it
};

// UserError for a folder that is no run's, or has no step yet.
RunSoFar run_so_far(const std::filesystem::path& folder);

// Of the mean loss of a step at `until`; nullopt if it is not known, with why.
struct GoingOn {
  std::optional<Forecast> loss;
  std::string doubt;
};
GoingOn going_on(const RunSoFar& run);

// What an arm of a study that grew gained over the arm that went on with the
// model it grew from, for the same operations.
struct Growing {
  std::string study;
  std::string arm;
  std::string about;
  double share = 0;   // of the operations that were spent before it grew
  Sample difference;  // bits per byte, grown less gone on, paired by seed
  std::string doubt;  // why it may not hold for this run; empty if it may
};

// Arms of `study` that grew and ended, by their share. Results alone are read.
std::vector<Growing> growing(const Study& study, const StudyRunner& runner,
                             const RunSoFar& run);

std::string to_text(const RunSoFar& run, const GoingOn& on,
                    const std::vector<Growing>& grown);
Json to_json(const RunSoFar& run, const GoingOn& on,
             const std::vector<Growing>& grown);

}  // namespace annuli::study
