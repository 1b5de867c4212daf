#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "annuli/config/yaml_tree.h"

// A study: arms, each a plan for the same number of operations, over seeds and
// a grid of learning rates; one YAML file.
//
// Guarantees after `load_study`: every value lies in its range, names are
// unique, `baseline` and every `rate_of` name an arm with rates of its own, and
// every arm's plan can be read at every point of its curve.
namespace annuli::study {

struct Arm {
  std::string name;
  std::string about;  // a sentence for tables
  YamlTree plan;      // laid over the study's; phases have shares
  // Learning rates of the first phase that are tried with the first seed; the
  // best counts, and other phases keep their ratio to the first. Empty: the
  // rate of `rate_of`, or the plan's.
  std::vector<double> rates;
  std::string rate_of;
  std::vector<int64_t> seeds;  // empty: the study's
  std::vector<double> points;  // empty: the study's
};

struct Study {
  std::string name;
  std::string about;
  std::string output_dir;  // runs; loaded: "runs/studies/<name>" if empty
  std::string results;     // loaded: "<output_dir>/results.jsonl" if empty
  double flops = 0;        // of each arm
  std::vector<double> points = {0.25, 0.5, 0.75, 1};  // shares of that
  std::vector<int64_t> seeds = {1, 2};
  std::vector<double> targets;  // bits per byte, fixed before the first run
  std::string baseline;         // the arm that others are compared with
  YamlTree plan;                // what all arms share
  std::vector<Arm> arms;
  YamlTree quick;  // laid over all of it by --quick
};

// `quick`: the small study that shows whether the large one works; its folder
// and results are apart. Throws UserError with file, line and key.
Study load_study(const std::filesystem::path& path, bool quick);
Study parse_study(std::string_view yaml, const std::string& source,
                  bool quick = false);

const Arm& find_arm(const Study& study, const std::string& name);
// The arm's or the study's, and the point 1 in any case.
std::vector<double> points_of(const Study& study, const Arm& arm);
const std::vector<int64_t>& seeds_of(const Study& study, const Arm& arm);

}  // namespace annuli::study
