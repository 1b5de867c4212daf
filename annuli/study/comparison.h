#pragma once

#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/study/student_t.h"
#include "annuli/study/study_runner.h"

// What a study says: each arm beside the baseline, from the results there are.
namespace annuli::study {

struct CurvePoint {
  double point = 1;  // share of the operations
  double flops = 0;
  Sample loss;  // bits per byte, over seeds
};

struct Reached {
  double flops = 0;
  bool at_most = false;  // by its first point already
};

struct ArmSummary {
  const Arm* arm = nullptr;
  std::optional<double> rate;
  std::vector<CurvePoint> curve;  // in order; points without results left out
  int64_t failures = 0;           // runs without a loss
  // From the baseline (paired_difference).
  std::optional<Sample> difference;
  // For the baseline's last point (its mean over the seeds that both have), and
  // then each target: operations at which the mean curve reaches it, between
  // points by a line over the logarithm of operations; nullopt if it does not.
  std::vector<std::optional<Reached>> reached;
  double source_flops = 0;  // of the last point: what was spent before growth
  double seconds = 0;       // of the last point, mean; as the machines were
};

// Of the last point, arm less other, over the seeds of the arm that both have,
// each at its best rate; nullopt if there is none.
std::optional<Sample> paired_difference(const Study& study,
                                        const StudyRunner& runner,
                                        const Arm& arm, const Arm& other);

std::vector<ArmSummary> summarise(const Study& study,
                                  const StudyRunner& runner);

// For a terminal, for a document, for a program.
std::string to_table(const Study& study, const std::vector<ArmSummary>& arms);
std::string to_markdown(const Study& study,
                        const std::vector<ArmSummary>& arms);
Json to_json(const Study& study, const std::vector<ArmSummary>& arms);

}  // namespace annuli::study
