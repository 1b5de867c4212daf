#include "annuli/study/study_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"
#include "annuli/study/arm_plan.h"
#include "annuli/study/study_fields.h"

#include "annuli/config/read_section.h"

namespace annuli::study {
namespace {

// UserError at the place of the study's document.
class Checker {
 public:
  Checker(const Study& study, const YamlTree& tree)
      : study_(study), tree_(tree) {}

  void check() const {
    std::vector<std::string> names;
    for (const Arm& arm : study_.arms) names.push_back(arm.name);
    if (names.empty()) complain("arms", "found none, expected some");
    const std::set<std::string> unique(names.begin(), names.end());
    if (unique.size() < names.size()) {
      complain("arms", "found two arms of one name, expected different names");
    }
    require_arm("baseline", study_.baseline, names);
    if (study_.points.empty()) complain("points", "found none, expected some");
    if (study_.seeds.empty()) complain("seeds", "found none, expected some");
    for (const Arm& arm : study_.arms) check_arm(arm, names);
  }

 private:
  [[noreturn]] void complain(const std::string& key,
                             const std::string& problem) const {
    user_error("reading {}: {}: {}", tree_.place, key, problem);
  }

  void require_arm(const std::string& key, const std::string& name,
                   const std::vector<std::string>& names) const {
    if (std::ranges::find(names, name) != names.end()) return;
    complain(key,
             fmt::format("found {}, expected an arm: {}{}", quote(name),
                         fmt::join(names, ", "), did_you_mean(name, names)));
  }

  void check_arm(const Arm& arm, const std::vector<std::string>& names) const {
    const std::string key = "arms." + arm.name;
    if (!arm.rates.empty() && !arm.rate_of.empty()) {
      complain(key, "found rates and rate_of, expected one of the two");
    }
    if (!arm.rate_of.empty()) {
      require_arm(key + ".rate_of", arm.rate_of, names);
      if (find_arm(study_, arm.rate_of).rates.empty()) {
        complain(key + ".rate_of",
                 fmt::format("found {}, which has no rates of its own; "
                             "expected an arm that tries some",
                             quote(arm.rate_of)));
      }
    }
    for (const double point : points_of(study_, arm)) {
      arm_plan(study_, arm, {.seed = 0, .rate = {}, .point = point});
    }
  }

  const Study& study_;
  const YamlTree& tree_;
};

Study study_of(YamlTree tree, bool quick) {
  if (tree.kind != YamlTree::Kind::kMap) {
    reject(tree, "the study", "a map: name, flops, baseline, plan, arms ...");
  }
  if (quick) {
    const YamlTree* over = tree.find("quick");
    if (over == nullptr) {
      user_error("reading {}: found no `quick`, which --quick needs",
                 tree.place);
    }
    lay_over(tree, YamlTree(*over));
  }
  Study study = read_document<Study>(tree);
  if (study.output_dir.empty()) {
    study.output_dir = "runs/studies/" + study.name;
  }
  if (study.results.empty() || quick) {
    if (quick) study.output_dir += "-quick";
    study.results = study.output_dir + "/results.jsonl";
  }
  Checker(study, tree).check();
  return study;
}

}  // namespace

Study load_study(const std::filesystem::path& path, bool quick) {
  return parse_study(read_file(path), path.string(), quick);
}

Study parse_study(std::string_view yaml, const std::string& source,
                  bool quick) {
  return study_of(parse_yaml(yaml, one_line(source)), quick);
}

const Arm& find_arm(const Study& study, const std::string& name) {
  const auto found = std::ranges::find(study.arms, name, &Arm::name);
  ANNULI_CHECK(found != study.arms.end(), "no arm {}", name);
  return *found;
}

std::vector<double> points_of(const Study& study, const Arm& arm) {
  std::vector<double> points = arm.points.empty() ? study.points : arm.points;
  points.push_back(1);
  std::ranges::sort(points);
  points.erase(std::ranges::unique(points).begin(), points.end());
  return points;
}

const std::vector<int64_t>& seeds_of(const Study& study, const Arm& arm) {
  return arm.seeds.empty() ? study.seeds : arm.seeds;
}

}  // namespace annuli::study
