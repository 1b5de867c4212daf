#pragma once

#include <string>

#include "annuli/core/worker.h"
#include "annuli/run/console.h"
#include "annuli/train/history.h"
#include "annuli/train/trainer.h"

namespace annuli::run {

// Writes a phase's steps into the history and on the console, beside the
// training. Lines appear in order; `finish` waits for them. Destroyed, it
// writes what it was given, so that the steps before a failure are on record.
class StepLog {
 public:
  // The history is borrowed.
  StepLog(train::History& history, const std::string& phase, StepLines lines);
  ~StepLog();

  void add(const train::StepRecord& record, double seconds);
  // Throws what writing threw.
  void check() { worker_.check(); }
  void finish() { worker_.finish(); }

 private:
  train::History& history_;
  std::string phase_;
  StepLines lines_;
  Worker worker_;  // last: it uses the others
};

}  // namespace annuli::run
