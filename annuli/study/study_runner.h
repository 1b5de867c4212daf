#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "annuli/study/arm_plan.h"
#include "annuli/study/results.h"
#include "annuli/study/study_plan.h"

// Runs what is missing of a study.
//
// Each arm first tries its rates with its first seed, all for the whole budget.
// With the best rate each seed is then run once up to the last of its branch
// points, where the run is copied and the copy trained to its end: the first
// seed of every arm, then the second of every arm, and so on, so that there is
// something to compare early. Losses do not depend on what else the machine
// does; seconds do.
//
// It can be killed at any moment: results are kept one by one, and the run at
// hand resumes from its last saved state. A run that fails (a loss that is not
// finite, a proof that fails) is a result without a loss. Of a run whose
// results are there history, plan and proofs stay; its weights are removed.
//
// Several processes may run one study: each takes runs that no other has in
// hand, and waits where what it could do next depends on them.
namespace annuli::study {

// A run that the study asks for.
struct Job {
  const Arm* arm = nullptr;
  Trial trial;
  Plan plan;
  std::string hash;
};

class StudyRunner {
 public:
  // Both are borrowed. `file` is where the study was read. `only`: the arms to
  // run, with the trials of those whose rate they take; empty: all. UserError
  // for an arm that the study has not.
  StudyRunner(const Study& study, Results& results, std::filesystem::path file,
              std::vector<std::string> only = {});

  // Until nothing is missing. Throws run::Stopped if a signal asks for it.
  void run();

  // The rate whose trial ended best; the only one there is; nullopt if a trial
  // is missing, or none ended.
  std::optional<double> best_rate(const Arm& arm) const;

  bool runs(const Arm& arm) const;

  // Its result, if there is one.
  const Result* result(const Arm& arm, const Trial& trial) const;

 private:
  // Runs of one rate and seed, in the order of their points.
  struct Unit {
    Job whole;
    std::vector<Job> points;  // the last one may be `whole`
  };

  // Made once.
  const Job& job(const Arm& arm, const Trial& trial) const;
  bool has_trials(const Arm& arm) const;
  bool needs_trials(const Arm& arm) const;
  std::vector<Trial> trials_of(const Arm& arm) const;
  std::vector<Unit> units() const;
  Unit curve_of(const Arm& arm, double rate, int64_t seed) const;
  bool is_missing(const Job& job) const;
  bool is_missing(const Unit& unit) const;
  bool has_all() const;
  bool take_one();
  [[noreturn]] void leave(int signal) const;
  std::filesystem::path folder_of(const Unit& unit) const;
  void run_unit(const Unit& unit);
  bool run_branch(const Job& whole, const Job& branch,
                  const std::filesystem::path& trunk,
                  const std::filesystem::path& folder);
  void run_to_end(const Job& job, const std::filesystem::path& folder);
  bool pause(const Job& whole, const std::filesystem::path& trunk,
             const run::StopPoint& stop);
  void record(const Job& job, const std::filesystem::path& folder,
              const std::string& failure);

  const Study& study_;
  Results& results_;
  std::filesystem::path file_;
  std::vector<std::string> only_;
  // By arm, seed, rate and point.
  mutable std::map<
      std::tuple<std::string, int64_t, std::optional<double>, double>, Job>
      jobs_;
};

}  // namespace annuli::study
