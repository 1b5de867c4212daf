#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/report/load_map.h"

// What the history of a run says, step by step, in columns: a million steps
// take 150 MB. Nothing else of the run folder is read.
//
// Guarantees: at least one step; every loss is a finite number; what a step did
// not record is NaN; sums over the steps (tokens, seconds) never fall.
namespace annuli::report {

constexpr double kNotRecorded = std::numeric_limits<double>::quiet_NaN();

// A figure of a step, under its key in the history.
enum Column : uint8_t {
  kLoss,
  kGradNorm,
  kLearningRate,
  kTokensPerSecond,
  kPeakMemory,
  kLossRise,
  kAuxLoss,
  kZLoss,
  kLoadImbalance,
  kDeadExperts,
  kUpdateRatio,  // this and those below only in steps that are measured
  kCopiesApart,
  kUpdateApart,
  // What follows is derived, not recorded.
  kLoadEntropy,  // of the experts' slots, over ln E, mean over layers
  kSmoothLoss,
  kColumns
};

std::string_view key_of(Column column);

struct Steps {
  std::vector<int32_t> phase;      // index in RunHistory::phases
  std::vector<int64_t> step;       // of its phase
  std::vector<double> tokens;      // up to this step's end, over all phases
  std::vector<double> seconds;     // the same; training, growth and proofs
  std::vector<double> own_tokens;  // of this step
  std::array<std::vector<double>, kColumns> columns;

  size_t size() const { return step.size(); }
};

// A line of another type, and how many steps stand before it.
struct Event {
  size_t steps_before = 0;
  Json line;
};

// Norms by layer of a step that was measured.
struct Depth {
  size_t step = 0;  // place in Steps
  std::vector<double> weight_rms;
  std::vector<double> stream_rms;
};

struct RunHistory {
  std::vector<std::string> phases;  // in the order of their first lines
  Steps steps;
  std::vector<LoadMap> loads;  // one a phase, empty where it has no experts
  std::vector<Depth> depths;   // at most some thousand, at equal distances
  std::vector<Event> boundaries;
  std::vector<Event> evaluations;
  std::vector<Event> phase_ends;
  std::vector<Event> rollbacks;
  bool torn = false;  // the last line is cut: the run is writing, or was killed
};

// Takes a history line by line, of a run that is still writing it.
class HistoryLines {
 public:
  virtual ~HistoryLines() = default;
  // UserError, with the line, for what no run writes; it is not taken then.
  virtual void add(Json line) = 0;
  // Brings kSmoothLoss up to date with the other columns, which until then are
  // longer. Returns the first place whose mean has changed.
  virtual size_t smooth() = 0;
};

// `into` is empty and outlives what is returned.
std::unique_ptr<HistoryLines> history_lines(std::filesystem::path path,
                                            RunHistory& into);

// UserError, with the line, for what is no history of a run, and for one that
// has no step.
RunHistory read_run_history(const std::filesystem::path& path);

}  // namespace annuli::report
