#include "annuli/run/step_log.h"

#include <utility>

#include "annuli/run/records.h"

namespace annuli::run {

StepLog::StepLog(train::History& history, const std::string& phase,
                 StepLines lines)
    : history_(history), phase_(phase), lines_(std::move(lines)) {}

StepLog::~StepLog() {
  // Whoever wants to know of a failure has called `finish`.
  try {
    worker_.finish();
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

void StepLog::add(const train::StepRecord& record, double seconds) {
  // The peak is that of this step; writing it down may wait.
  worker_.post(
      [this, record, seconds, line = step_json(phase_, record, seconds)] {
        history_.append(line);
        lines_.print(record, seconds);
      });
}

}  // namespace annuli::run
