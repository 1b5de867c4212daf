#pragma once

#include <memory>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"
#include "annuli/core/progress.h"
#include "annuli/run/growth_step.h"
#include "annuli/train/trainer.h"
#include "annuli/verify/verdict.h"

// What a run prints, line by line, on standard output.
namespace annuli::run {

// One line on standard error if the plan's precision does not pay here.
void warn_of_slow_numbers(const Plan& plan, at::Device device,
                          bool bf16_is_fast);

// "phase 2/4  moe  12 x 512, 8 heads, 8 experts top-2: 239.7 M (88.7 M active)"
void print_phase(const Plan& plan, size_t phase, const ModelConfig& config);

// The growth step's own line and its verdicts.
void print_growth(const Grown& grown);

// Of a line of the history, `rollback_json`.
void print_rollback(const Json& line);

// How many pass, then each: those that stop first, then those that are allowed
// to fail, then warnings.
void print_verdicts(const std::vector<verify::Verdict>& verdicts);

// One line a step that is due, with the time that is left in the phase; below
// it the live line of the whole phase.
class StepLines {
 public:
  StepLines(const std::string& phase, int64_t first_step, int64_t max_steps,
            int64_t logging_steps);
  // Seconds that this step took.
  void print(const train::StepRecord& record, double seconds);

 private:
  void print_line(const train::StepRecord& record, double seconds) const;

  int64_t first_step_;
  int64_t max_steps_;
  int64_t logging_steps_;
  double spent_ = 0;
  std::unique_ptr<Progress> bar_;
};

}  // namespace annuli::run
