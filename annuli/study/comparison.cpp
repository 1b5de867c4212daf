#include "annuli/study/comparison.h"

#include <algorithm>
#include <cmath>

#include "annuli/core/markdown.h"
#include "annuli/core/text.h"

namespace annuli::study {
namespace {

// Results of all seeds at one point.
std::vector<const Result*> results_at(const Study& study,
                                      const StudyRunner& runner, const Arm& arm,
                                      double rate, double point) {
  std::vector<const Result*> found;
  for (const int64_t seed : seeds_of(study, arm)) {
    const Result* result =
        runner.result(arm, {.seed = seed, .rate = rate, .point = point});
    if (result != nullptr) found.push_back(result);
  }
  return found;
}

const ArmSummary& baseline_of(const Study& study,
                              const std::vector<ArmSummary>& arms) {
  return *std::ranges::find(arms, study.baseline, [](const ArmSummary& arm) {
    return arm.arm->name;
  });
}

std::optional<Reached> crossing(const std::vector<CurvePoint>& curve,
                                double target) {
  if (curve.empty()) return std::nullopt;
  if (curve.front().loss.mean <= target) {
    return Reached{.flops = curve.front().flops, .at_most = true};
  }
  for (size_t i = 1; i < curve.size(); ++i) {
    const double before = curve[i - 1].loss.mean;
    const double after = curve[i].loss.mean;
    if (after > target) continue;
    const double share = (before - target) / (before - after);
    const double ratio = curve[i].flops / curve[i - 1].flops;
    return Reached{.flops = curve[i - 1].flops * std::pow(ratio, share)};
  }
  return std::nullopt;
}

ArmSummary summary_of(const Study& study, const StudyRunner& runner,
                      const Arm& arm) {
  ArmSummary summary{.arm = &arm, .rate = runner.best_rate(arm)};
  summary.reached.resize(1 + study.targets.size());
  if (!summary.rate) return summary;
  for (const double point : points_of(study, arm)) {
    std::vector<double> losses;
    double flops = 0;
    double seconds = 0;
    for (const Result* result :
         results_at(study, runner, arm, *summary.rate, point)) {
      if (!result->bits_per_byte) {
        ++summary.failures;
        continue;
      }
      losses.push_back(*result->bits_per_byte);
      flops = result->flops;
      summary.source_flops = result->source_flops;
      seconds += result->seconds;
    }
    if (losses.empty()) continue;
    summary.curve.push_back({point, flops, sample_of(losses)});
    summary.seconds = seconds / static_cast<double>(losses.size());
  }
  return summary;
}

bool has_end(const ArmSummary& arm) {
  return !arm.curve.empty() && arm.curve.back().point == 1;
}

// Bits per byte of two arms' last points with one seed.
struct Pair {
  double mine = 0;
  double other = 0;
};

std::vector<Pair> pairs_of(const Study& study, const StudyRunner& runner,
                           const Arm& arm, const Arm& other) {
  const std::optional<double> rate = runner.best_rate(arm);
  const std::optional<double> other_rate = runner.best_rate(other);
  std::vector<Pair> pairs;
  if (!rate || !other_rate) return pairs;
  for (const int64_t seed : seeds_of(study, arm)) {
    const Result* mine = runner.result(arm, {.seed = seed, .rate = rate});
    const Result* its =
        runner.result(other, {.seed = seed, .rate = other_rate});
    if (mine == nullptr || its == nullptr) continue;
    if (!mine->bits_per_byte || !its->bits_per_byte) continue;
    pairs.push_back({*mine->bits_per_byte, *its->bits_per_byte});
  }
  return pairs;
}

// The baseline's end counts over the arm's own seeds: means over others would
// compare seeds, which differ by more than arms.
void note_reached(const Study& study, const StudyRunner& runner,
                  const Arm& baseline, ArmSummary& arm) {
  double sum = 0;
  const std::vector<Pair> pairs = pairs_of(study, runner, *arm.arm, baseline);
  for (const Pair& pair : pairs) sum += pair.other;
  if (!pairs.empty()) {
    arm.reached[0] =
        crossing(arm.curve, sum / static_cast<double>(pairs.size()));
  }
  for (size_t i = 0; i < study.targets.size(); ++i) {
    arm.reached[1 + i] = crossing(arm.curve, study.targets[i]);
  }
}

std::string interval_text(const Sample& sample) {
  if (!std::isfinite(sample.half_width)) {
    return fmt::format("{:+.4f} (one seed)", sample.mean);
  }
  return fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", sample.mean,
                     sample.mean - sample.half_width,
                     sample.mean + sample.half_width);
}

// Operations, and the same as a share of what the baseline needs.
std::string reached_text(const std::optional<Reached>& arm,
                         const std::optional<Reached>& baseline) {
  if (!arm) return "-";
  const char* sign = arm->at_most ? "<= " : "";
  if (!baseline || baseline->at_most) {
    return fmt::format("{}{:.3g}", sign, arm->flops);
  }
  return fmt::format("{}{:.3g} ({:.2f})", sign, arm->flops,
                     arm->flops / baseline->flops);
}

std::vector<std::string> row_of(const ArmSummary& arm,
                                const ArmSummary& baseline) {
  std::vector<std::string> row = {arm.arm->name};
  row.push_back(arm.rate ? fmt::format("{:.1e}", *arm.rate) : "-");
  const Sample end = has_end(arm) ? arm.curve.back().loss : Sample();
  row.push_back(fmt::format("{}", end.count));
  row.push_back(end.count > 0 ? fmt::format("{:.4f}", end.mean) : "-");
  row.push_back(end.count > 1 ? fmt::format("{:.4f}", end.deviation) : "-");
  row.push_back(arm.difference ? interval_text(*arm.difference) : "-");
  for (size_t i = 0; i < arm.reached.size(); ++i) {
    row.push_back(reached_text(arm.reached[i], baseline.reached[i]));
  }
  row.push_back(has_end(arm)
                    ? fmt::format("{:.0f} %", 100 * arm.source_flops /
                                                  arm.curve.back().flops)
                    : "-");
  row.push_back(end.count > 0 ? format_duration(arm.seconds) : "-");
  row.push_back(fmt::format("{}", arm.failures));
  return row;
}

std::vector<std::vector<std::string>> rows_of(
    const Study& study, const std::vector<ArmSummary>& arms) {
  std::vector<std::string> heading = {
      "arm",           "rate",      "seeds",
      "bits per byte", "deviation", "less " + study.baseline + " [95 %]"};
  heading.push_back(fmt::format("FLOPs to {}'s end", study.baseline));
  for (const double target : study.targets) {
    heading.push_back(fmt::format("FLOPs to {:g}", target));
  }
  heading.insert(heading.end(), {"before growth", "time", "failed"});
  std::vector<std::vector<std::string>> rows = {heading};
  const ArmSummary& baseline = baseline_of(study, arms);
  for (const ArmSummary& arm : arms) rows.push_back(row_of(arm, baseline));
  return rows;
}

Json to_json(const Sample& sample) {
  Json json = {{"count", sample.count},
               {"mean", sample.mean},
               {"deviation", sample.deviation},
               {"half_width", nullptr}};
  if (std::isfinite(sample.half_width)) json["half_width"] = sample.half_width;
  return json;
}

Json to_json(const std::optional<Reached>& reached) {
  if (!reached) return {};
  return {{"flops", reached->flops}, {"at_most", reached->at_most}};
}

Json to_json(const ArmSummary& arm) {
  Json curve = Json::array();
  for (const CurvePoint& point : arm.curve) {
    curve.push_back({{"point", point.point},
                     {"flops", point.flops},
                     {"bits_per_byte", to_json(point.loss)}});
  }
  Json reached = Json::array();
  for (const auto& one : arm.reached) reached.push_back(to_json(one));
  return {{"arm", arm.arm->name},
          {"about", arm.arm->about},
          {"rate", arm.rate ? Json(*arm.rate) : Json()},
          {"curve", curve},
          {"failures", arm.failures},
          {"difference", arm.difference ? to_json(*arm.difference) : Json()},
          {"flops_to_targets", reached},
          {"source_flops", arm.source_flops},
          {"seconds", arm.seconds}};
}

}  // namespace

std::optional<Sample> paired_difference(const Study& study,
                                        const StudyRunner& runner,
                                        const Arm& arm, const Arm& other) {
  if (&arm == &other) return {};
  std::vector<double> differences;
  for (const Pair& pair : pairs_of(study, runner, arm, other)) {
    differences.push_back(pair.mine - pair.other);
  }
  if (differences.empty()) return {};
  return sample_of(differences);
}

std::vector<ArmSummary> summarise(const Study& study,
                                  const StudyRunner& runner) {
  std::vector<ArmSummary> arms;
  for (const Arm& arm : study.arms) {
    arms.push_back(summary_of(study, runner, arm));
  }
  const ArmSummary& baseline = baseline_of(study, arms);
  for (ArmSummary& arm : arms) {
    arm.difference = paired_difference(study, runner, *arm.arm, *baseline.arm);
    note_reached(study, runner, *baseline.arm, arm);
  }
  return arms;
}

std::string to_table(const Study& study, const std::vector<ArmSummary>& arms) {
  return aligned(rows_of(study, arms), Align::kRight);
}

std::string to_markdown(const Study& study,
                        const std::vector<ArmSummary>& arms) {
  return markdown_table(rows_of(study, arms));
}

Json to_json(const Study& study, const std::vector<ArmSummary>& arms) {
  Json all = Json::array();
  for (const ArmSummary& arm : arms) all.push_back(to_json(arm));
  return {{"study", study.name},      {"about", study.about},
          {"flops", study.flops},     {"baseline", study.baseline},
          {"targets", study.targets}, {"arms", all}};
}

}  // namespace annuli::study
