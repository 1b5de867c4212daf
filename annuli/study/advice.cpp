#include "annuli/study/advice.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "annuli/budget/phase_steps.h"
#include "annuli/config/read_plan.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/report/run_data.h"
#include "annuli/study/arm_plan.h"
#include "annuli/study/comparison.h"
#include "annuli/train/schedule.h"

namespace annuli::study {
namespace {

namespace fs = std::filesystem;

// The farthest that a curve is followed beyond what was seen of it.
constexpr double kFarthest = 8;
// Models that a study says something of: by so much larger or smaller.
constexpr double kAlike = 4;

// Operations at which the plan's rate begins to decay.
double decay_begin(const Plan& plan) {
  const size_t last = plan.phases.size() - 1;
  const TrainPlan& train = plan.phases[last].train;
  const budget::Spent spent = budget::flops_at(plan, last);
  double steps = static_cast<double>(train.max_steps);
  const auto place = train::place_in_run(plan, last);
  const bool decays =
      (place ? place->type : train.lr_scheduler_type) == LrSchedulerType::kWsd;
  if (decays && place) {
    steps = (place->decay_begin - place->before) / place->of_step;
  } else if (decays) {
    steps *= 1 - train.decay_ratio;
  }
  return spent.before + spent.of_step * steps;
}

bool is_alike(double one, double other) {
  return one <= kAlike * other && other <= kAlike * one;
}

// The arm of one phase that trains the model from which `grown` grows.
const Arm* arm_that_goes_on(const Study& study, const Plan& grown) {
  const ModelConfig first = budget::configs_of_phases(grown).front();
  for (const Arm& arm : study.arms) {
    const Plan plan = arm_plan(study, arm, {.seed = 0});
    if (plan.phases.size() != 1 || plan.optimizer != grown.optimizer) continue;
    if (budget::configs_of_phases(plan).front() == first) return &arm;
  }
  return nullptr;
}

std::string doubt_of(const Study& study, const ParameterCount& small,
                     const RunSoFar& run) {
  const auto parameters = static_cast<double>(small.active);
  const auto own = static_cast<double>(run.parameters.active);
  if (!is_alike(parameters, own)) {
    return fmt::format(
        "not known for {} active parameters: the study's model "
        "has {}",
        format_count(own), format_count(parameters));
  }
  if (!is_alike(study.flops / parameters / parameters,
                run.all_flops / own / own)) {
    return fmt::format(
        "not known for {:.2g} operations: the study's models "
        "have {:.2g}",
        run.all_flops, study.flops);
  }
  return "";
}

std::string interval_of(const Sample& sample) {
  if (!std::isfinite(sample.half_width)) return "one seed";
  return fmt::format("{:+.4f} to {:+.4f}, {} seeds",
                     sample.mean - sample.half_width,
                     sample.mean + sample.half_width, sample.count);
}

// A plan, its history, and the operations up to the end of each step, as
// budgets count them.
struct ReadRun {
  Plan plan;
  report::RunHistory history;
  std::vector<double> flops;
};

ReadRun read_run(const fs::path& folder) {
  report::require_run(folder);
  ReadRun run{.plan = load_plan(folder / "plan.yaml"),
              .history = report::read_run_history(report::history_of(folder))};
  std::map<std::string, double> of_step;
  const std::vector<double> of_steps = budget::flops_of_steps(run.plan);
  for (size_t i = 0; i < of_steps.size(); ++i) {
    of_step[run.plan.phases[i].name] = of_steps[i];
  }
  double sum = 0;
  for (const int32_t phase : run.history.steps.phase) {
    const std::string& name = run.history.phases[phase];
    if (!of_step.contains(name)) {
      user_error(
          "advising on {}: found phase {} in its history, expected one of its "
          "plan.yaml",
          folder.string(), name);
    }
    sum += of_step.at(name);
    run.flops.push_back(sum);
  }
  return run;
}

// Steps of the last phase whose rate is the highest.
struct FullRate {
  std::vector<LossPoint> points;
  train::LossBins bins;
  train::LossPlace place;
  bool is_decaying = false;
};

FullRate steps_at_full_rate(const ReadRun& run) {
  const report::Steps& steps = run.history.steps;
  const auto& rates = steps.columns[report::kLearningRate];
  const size_t last = steps.size() - 1;
  size_t first = last;
  while (first > 0 && steps.phase[first - 1] == steps.phase[last]) --first;
  constexpr double kRounding = 1e-6;
  const double full =
      (1 - kRounding) *
      *std::max_element(rates.begin() + static_cast<std::ptrdiff_t>(first),
                        rates.end());
  FullRate found{.is_decaying = rates[last] < full};
  for (size_t i = first; i <= last; ++i) {
    if (rates[i] < full) continue;
    const double before = i > 0 ? run.flops[i - 1] : 0;
    if (found.bins.is_empty()) {
      found.place = {.before = before, .of_step = run.flops[i] - before};
    }
    const double loss = steps.columns[report::kLoss][i];
    found.bins.add(loss);
    found.points.push_back({run.flops[i], loss});
  }
  return found;
}

}  // namespace

RunSoFar run_so_far(const fs::path& folder) {
  const ReadRun run = read_run(folder);
  const report::Steps& steps = run.history.steps;
  const size_t last = steps.size() - 1;
  const FullRate full = steps_at_full_rate(run);
  const std::string& name = run.history.phases[steps.phase[last]];
  const auto planned =
      std::ranges::find(run.plan.phases, name, &PhasePlan::name);
  const auto index = planned - run.plan.phases.begin();
  return {.phase = name,
          .step = steps.step[last],
          .parameters =
              count_parameters(budget::configs_of_phases(run.plan)[index]),
          .flops = run.flops[last],
          .all_flops = flops_of(run.plan),
          .until = decay_begin(run.plan),
          .is_decaying = full.is_decaying,
          .steps = full.points,
          .slope = train::fit_slope(full.bins, full.place)};
}

GoingOn going_on(const RunSoFar& run) {
  if (run.is_decaying) {
    return {.loss = {},
            .doubt =
                "its learning rate is decaying, and the loss falls as "
                "that does"};
  }
  if (run.until > kFarthest * run.flops) {
    return {.loss = {},
            .doubt = fmt::format("{:.2g} operations are spent of {:.2g}: too "
                                 "few to see so far",
                                 run.flops, run.until)};
  }
  const auto found = forecast(run.steps, run.until);
  if (found) return {.loss = found, .doubt = ""};
  return {.loss = {},
          .doubt =
              "too few steps at the full learning rate to see as far ahead, "
              "and how well"};
}

std::vector<Growing> growing(const Study& study, const StudyRunner& runner,
                             const RunSoFar& run) {
  std::vector<Growing> all;
  for (const Arm& arm : study.arms) {
    const Plan plan = arm_plan(study, arm, {.seed = 0});
    const double source = flops_of(plan, /*source=*/true);
    const Arm* const on = source > 0 ? arm_that_goes_on(study, plan) : nullptr;
    if (on == nullptr) continue;
    const auto difference = paired_difference(study, runner, arm, *on);
    if (!difference) continue;
    const ParameterCount small =
        count_parameters(budget::configs_of_phases(plan).front());
    all.push_back({.study = study.name,
                   .arm = arm.name,
                   .about = arm.about,
                   .share = source / flops_of(plan),
                   .difference = *difference,
                   .doubt = doubt_of(study, small, run)});
  }
  std::ranges::stable_sort(all, {}, &Growing::share);
  return all;
}

std::string to_text(const RunSoFar& run, const GoingOn& on,
                    const std::vector<Growing>& grown) {
  std::string text = fmt::format(
      "phase {}, step {}: {:.3g} of {:.3g} operations are spent ({:.0f} %)\n",
      run.phase, run.step, run.flops, run.all_flops,
      100 * run.flops / run.all_flops);
  if (run.slope) {
    text += fmt::format(
        "the loss falls by {:.4f} +- {:.4f} nats per doubling of the "
        "operations\n",
        run.slope->fall, run.slope->error);
  }
  text += "\ngoing on with this model\n";
  text += on.loss ? fmt::format(
                        "  {:.4f} nats a token ({:.4f} to {:.4f}, 95 %) after "
                        "{:.3g} operations, before the rate decays\n",
                        on.loss->mean, on.loss->low, on.loss->high, run.until)
                  : fmt::format("  not known: {}\n", on.doubt);
  text +=
      "\ngrowing it, against going on, as measured (bits per byte; below 0 "
      "growing is better)\n";
  if (grown.empty()) {
    text += "  not known: no study with results of both was given (--study)\n";
  }
  for (const Growing& one : grown) {
    text += fmt::format("  {}, {}: {} (at {:.0f} %): {:+.4f} ({})\n", one.study,
                        one.arm, one.about, 100 * one.share,
                        one.difference.mean, interval_of(one.difference));
    if (!one.doubt.empty()) text += fmt::format("    {}\n", one.doubt);
  }
  return text;
}

Json to_json(const RunSoFar& run, const GoingOn& on,
             const std::vector<Growing>& grown) {
  Json json = {{"phase", run.phase},
               {"step", run.step},
               {"flops", run.flops},
               {"all_flops", run.all_flops},
               {"fall", run.slope ? Json(run.slope->fall) : Json()},
               {"fall_error", run.slope ? Json(run.slope->error) : Json()},
               {"going_on", {{"flops", run.until}, {"doubt", on.doubt}}},
               {"growing", Json::array()}};
  if (on.loss) {
    json["going_on"].update({{"loss", on.loss->mean},
                             {"low", on.loss->low},
                             {"high", on.loss->high}});
  }
  for (const Growing& one : grown) {
    json["growing"].push_back({{"study", one.study},
                               {"arm", one.arm},
                               {"about", one.about},
                               {"share", one.share},
                               {"difference", one.difference.mean},
                               {"half_width", one.difference.half_width},
                               {"seeds", one.difference.count},
                               {"doubt", one.doubt}});
  }
  return json;
}

}  // namespace annuli::study
