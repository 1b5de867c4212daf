#pragma once

#include <string>
#include <vector>

#include "annuli/budget/machine_rates.h"
#include "annuli/study/study_runner.h"

// What is still to be run of a study.
namespace annuli::study {

struct ArmCost {
  std::string arm;
  int64_t trials = 0;  // runs that try a rate
  int64_t curves = 0;  // seeds whose curve is not whole
  double flops = 0;    // of all those, branches counted from where they leave
  double seconds = 0;  // at the machine's rates
};

// Where a rate is still to be tried, curves are counted for any rate.
std::vector<ArmCost> cost_of(const Study& study, const StudyRunner& runner,
                             const budget::MachineRates& rates);

std::string to_text(const std::vector<ArmCost>& costs);

}  // namespace annuli::study
