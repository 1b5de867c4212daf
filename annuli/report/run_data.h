#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"
#include "annuli/report/comparison.h"
#include "annuli/report/planned.h"
#include "annuli/report/run_history.h"

// What the page of runs shows, as one JSON document (docs/formats.md, "The page
// of a run"). It is made of the files of the run folders alone, which are only
// read: a run may be writing them meanwhile.
namespace annuli::report {

std::filesystem::path history_of(const std::filesystem::path& folder);

// UserError, one line, for what is no folder of a run.
void require_run(const std::filesystem::path& folder);

// Files of a run folder that are read, so that no output replaces one.
std::vector<std::filesystem::path> files_of_run(
    const std::filesystem::path& folder);

// All that is known of one run while its data is made. Files of a run that
// writes them are read apart: `read_plan`, then the history, then `complete`.
struct Run {
  std::filesystem::path folder;
  RunHistory history;
  std::optional<Plan> plan;
  PlannedRun planned;
  // What follows from these.
  std::vector<double> flops;
  bool flops_are_estimated = false;
  std::vector<std::string> phases;  // the history's, then those still to come
};

void read_plan(Run& run);
void complete(Run& run);

// What the page has of a run: its steps at these places, what else the history
// says (with the plan), and what the other files say. The keys of all are
// different.
Json steps_data(const Run& run, const std::vector<size_t>& places);
Json history_data(const Run& run);
Json files_data(const Run& run);

// The page's data of what it has of the runs. Curves are only needed of
// several.
Json page_of(Json runs, std::vector<Curve> curves);
Curve curve_of(const Run& run);

// UserError, one line, for a folder that is no run, and for a file in it that
// is not what a run writes. What an older run did not record is left out.
Json page_data(const std::vector<std::filesystem::path>& folders);

}  // namespace annuli::report
