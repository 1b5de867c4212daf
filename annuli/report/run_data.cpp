#include "annuli/report/run_data.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <set>
#include <utility>

#include "annuli/checkpoint/lineage.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/report/comparison.h"
#include "annuli/report/kept_steps.h"
#include "annuli/report/planned.h"
#include "annuli/report/rounded.h"
#include "annuli/report/run_files.h"
#include "annuli/report/run_history.h"

namespace annuli::report {
namespace {

constexpr size_t kMostLoads = 60000;  // values of all heat maps together
constexpr size_t kDepths = 24;        // measured steps of a phase
constexpr size_t kMostDepths = 240;   // of all phases together
constexpr size_t kMostGrowths = 100;
constexpr size_t kMostEvaluations = 1000;
constexpr size_t kMostRollbacks = 100;

Run read_run(const fs::path& folder) {
  require_run(folder);
  Run run{.folder = folder, .history = read_run_history(history_of(folder))};
  read_plan(run);
  complete(run);
  return run;
}

Json column_data(const std::vector<double>& column,
                 const std::vector<size_t>& kept) {
  Json values = Json::array();
  bool any = false;
  for (const size_t i : kept) {
    values.push_back(rounded(column[i]));
    any = any || !values.back().is_null();
  }
  return any ? values : Json();
}

}  // namespace

Json steps_data(const Run& run, const std::vector<size_t>& kept) {
  const Steps& steps = run.history.steps;
  Json data = {{"count", steps.size()},
               {"index", Json::array()},
               {"phase", Json::array()},
               {"step", Json::array()},
               {"tokens", Json::array()}};
  for (const size_t i : kept) {
    data["index"].push_back(i + 1);
    data["phase"].push_back(steps.phase[i]);
    data["step"].push_back(steps.step[i]);
    data["tokens"].push_back(steps.tokens[i]);
  }
  data["seconds"] = column_data(steps.seconds, kept);
  if (!run.flops.empty()) data["flops"] = column_data(run.flops, kept);
  for (uint8_t column = 0; column < kColumns; ++column) {
    Json values = column_data(steps.columns[column], kept);
    if (values.is_null()) continue;
    data[std::string(key_of(static_cast<Column>(column)))] = std::move(values);
  }
  return data;
}

namespace {

// Of a line of the history these keys, with where it stands: after so many
// steps, tokens, ...
Json placed(const Run& run, const Event& event,
            std::initializer_list<const char*> keys) {
  Json line;
  for (const char* key : keys) {
    const auto found = event.line.find(key);
    if (found != event.line.end()) line[key] = *found;
  }
  const size_t steps = event.steps_before;
  const Steps& all = run.history.steps;
  line["index"] = steps;
  line["tokens"] = steps == 0 ? 0.0 : all.tokens[steps - 1];
  line["seconds"] = steps == 0 ? Json(0) : rounded(all.seconds[steps - 1]);
  if (!run.flops.empty()) {
    line["flops"] = steps == 0 ? Json(0) : rounded(run.flops[steps - 1]);
  }
  return line;
}

// At most so many, at equal distances, the last among them.
std::vector<Event> thinned(const std::vector<Event>& events, size_t most) {
  if (events.size() <= most) return events;
  std::vector<Event> kept;
  for (size_t i = 1; i <= most; ++i) {
    kept.push_back(events[i * events.size() / most - 1]);
  }
  return kept;
}

Json growths_data(const Run& run) {
  Json list = Json::array();
  for (const Event& event : thinned(run.history.boundaries, kMostGrowths)) {
    list.push_back(
        placed(run, event,
               {"phase", "operator", "arguments", "exact", "probe_loss_before",
                "probe_loss_after", "jump", "copies_apart"}));
    list.back()["growth_seconds"] = event.line.value("seconds", Json());
  }
  return list;
}

Json evaluations_data(const Run& run) {
  Json list = Json::array();
  for (const Event& event :
       thinned(run.history.evaluations, kMostEvaluations)) {
    list.push_back(
        placed(run, event, {"phase", "step", "eval_loss", "bits_per_byte"}));
  }
  return list;
}

Json rollbacks_data(const Run& run) {
  Json list = Json::array();
  for (const Event& event : thinned(run.history.rollbacks, kMostRollbacks)) {
    list.push_back(placed(run, event,
                          {"phase", "step", "reason", "to_phase", "to_step",
                           "rollbacks", "lr_factor"}));
  }
  return list;
}

// Of a column of a heat map, [layer x experts].
Json percents_of(const LoadMap& map, size_t column) {
  Json percents = Json::array();
  for (size_t layer = 0; layer < map.layers(); ++layer) {
    for (size_t expert = 0; expert < map.experts(); ++expert) {
      const double percent = 100 * map.value(column, layer, expert);
      // What is not quite dead does not look it.
      percents.push_back(static_cast<int64_t>(
          percent > 0 ? std::max(std::round(percent), 1.0) : 0.0));
    }
  }
  return percents;
}

Json loads_data(const Run& run) {
  Json maps = Json::array();
  for (size_t phase = 0; phase < run.history.loads.size(); ++phase) {
    LoadMap map = run.history.loads[phase];
    if (map.empty()) continue;
    map.finish(kMostLoads / run.history.loads.size());
    Json columns = Json::array();
    for (size_t column = 0; column < map.columns(); ++column) {
      columns.push_back(percents_of(map, column));
    }
    maps.push_back({{"phase", phase},
                    {"layers", map.layers()},
                    {"experts", map.experts()},
                    {"first_index", map.first_row() + 1},
                    {"width", map.width()},
                    {"percent_of_mean", std::move(columns)}});
  }
  return maps;
}

Json rounded_all(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(rounded(value));
  return list;
}

// Of each phase some steps, the first and the last measured among them.
Json depths_data(const Run& run) {
  const RunHistory& history = run.history;
  Json list = Json::array();
  if (history.phases.empty())
    return list;  // a run that waits for its first step
  const size_t most =
      std::clamp<size_t>(kMostDepths / history.phases.size(), 2, kDepths);
  for (size_t phase = 0; phase < history.phases.size(); ++phase) {
    std::vector<const Depth*> all;
    for (const Depth& depth : history.depths) {
      if (std::cmp_equal(history.steps.phase[depth.step], phase)) {
        all.push_back(&depth);
      }
    }
    if (all.empty()) continue;
    Json data = {{"phase", phase}};
    const size_t count = std::min(all.size(), most);
    for (size_t i = 0; i < count; ++i) {
      const size_t place = count == 1 ? 0 : i * (all.size() - 1) / (count - 1);
      const Depth& depth = *all[place];
      data["step"].push_back(history.steps.step[depth.step]);
      data["weight_rms"].push_back(rounded_all(depth.weight_rms));
      data["stream_rms"].push_back(rounded_all(depth.stream_rms));
    }
    list.push_back(std::move(data));
  }
  return list;
}

Json phase_data(const Run& run, const std::string& name) {
  Json data = {{"name", name}};
  const auto planned = run.planned.phases.find(name);
  if (planned != run.planned.phases.end()) {
    data["shape"] = planned->second.shape;
    data["total_parameters"] = planned->second.total_parameters;
    data["active_parameters"] = planned->second.active_parameters;
    data["planned_peak_bytes"] = planned->second.peak_bytes;
    data["planned_step_flops"] = planned->second.step_flops;
  }
  for (const Event& end : run.history.phase_ends) {
    if (end.line["phase"] != name) continue;
    data["ended"] = true;
    for (const char* key :
         {"total_parameters", "active_parameters", "peak_memory_bytes"}) {
      if (end.line.contains(key) && end.line[key].is_number()) {
        data[key] = end.line[key];
      }
    }
  }
  if (!run.plan) return data;
  for (const PhasePlan& phase : run.plan->phases) {
    if (phase.name == name) data["max_steps"] = phase.train.max_steps;
  }
  return data;
}

std::vector<std::string> texts_of(const DataPlan& data) {
  std::vector<std::string> texts = data.text;
  for (const TextSource& source : data.mixture) {
    texts.insert(texts.end(), source.text.begin(), source.text.end());
  }
  return texts;
}

// What the plan says of the whole run.
Json plan_data(const Plan& plan) {
  return {{"name", plan.name},
          {"seed", plan.seed},
          {"precision", word_of(plan.precision)},
          {"optimizer", word_of(plan.optimizer.type)},
          {"tokenizer", plan.tokenizer},
          {"sequence_length", plan.data.sequence_length},
          {"text", texts_of(plan.data)},
          {"hash", plan_hash(plan)}};
}

}  // namespace

void read_plan(Run& run) {
  if (is_file(run.folder / "plan.yaml")) {
    run.plan = load_plan(run.folder / "plan.yaml");
    run.planned = planned_run(*run.plan);
  } else {
    run.plan.reset();
    run.planned = {.missing = "there is no plan.yaml in the run's folder"};
  }
}

void complete(Run& run) {
  run.flops = flops_of(run.history, run.planned, run.flops_are_estimated);
  run.phases = run.history.phases;
  if (!run.plan) return;
  for (const PhasePlan& phase : run.plan->phases) {
    if (std::ranges::find(run.phases, phase.name) != run.phases.end()) {
      continue;
    }
    run.phases.push_back(phase.name);
  }
}

Json history_data(const Run& run) {
  Json phases = Json::array();
  for (const std::string& name : run.phases) {
    phases.push_back(phase_data(run, name));
  }
  return {
      {"torn", run.history.torn},
      {"plan", run.plan ? plan_data(*run.plan) : Json()},
      {"planned_missing", run.planned.missing},
      {"flops_are_estimated", run.flops_are_estimated},
      {"phases", std::move(phases)},
      {"growths", growths_data(run)},
      {"evaluations", evaluations_data(run)},
      {"rollbacks", rollbacks_data(run)},
      {"loads", loads_data(run)},
      {"depths", depths_data(run)},
  };
}

Json files_data(const Run& run) {
  return {
      {"folder", run.folder.lexically_normal().string()},
      {"finished", is_file(run.folder / "summary.json")},
      {"verdicts", verdicts_of(run.folder, run.phases)},
      {"sessions", sessions_of(run.folder)},
      {"lineage", lineage_of(run.folder)},
      {"samples", samples_of(run.folder, run.phases)},
  };
}

fs::path history_of(const fs::path& folder) {
  return folder / "training_history.jsonl";
}

void require_run(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    user_error(
        "reporting {}: found no folder there, expected that of a run, "
        "for example runs/quick",
        folder.string());
  }
  if (!is_file(history_of(folder))) {
    user_error(
        "reporting {}: found no training_history.jsonl in it, expected "
        "the folder of a run, for example runs/quick",
        folder.string());
  }
}

std::vector<fs::path> files_of_run(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const char* name :
       {"training_history.jsonl", "plan.yaml", "sessions.jsonl", "lineage.json",
        "summary.json", ".annuli-files.json", ".lock", "profile.json"}) {
    files.push_back(folder / name);
  }
  std::error_code ignored;
  for (const char* name :
       {"checkpoints", "verify", "samples", "state", "tensorboard"}) {
    files.push_back(folder / name);
    for (const auto& entry : fs::directory_iterator(folder / name, ignored)) {
      files.push_back(entry.path());
    }
  }
  return files;
}

Curve curve_of(const Run& run) {
  const Steps& steps = run.history.steps;
  return {.loss = steps.columns[kSmoothLoss],
          .axes = {steps.tokens, run.flops, steps.seconds}};
}

Json page_of(Json runs, std::vector<Curve> curves) {
  std::set<bool> estimated;
  for (const Json& run : runs) {
    estimated.insert(run.at("flops_are_estimated").get<bool>());
  }
  // What is counted and what is estimated are not equal when they are equal.
  if (estimated.size() > 1) {
    for (Curve& curve : curves) curve.axes[1].clear();
  }
  return {{"format_version", 1},
          {"versions", program_versions()},
          {"runs", std::move(runs)},
          {"comparison", compare(curves)}};
}

Json page_data(const std::vector<fs::path>& folders) {
  std::vector<Curve> curves;
  Json runs = Json::array();
  for (const fs::path& folder : folders) {
    const Run run = read_run(folder);
    runs.push_back(history_data(run));
    runs.back().update(files_data(run));
    runs.back()["steps"] = steps_data(run, kept_steps(run.history));
    curves.push_back(curve_of(run));
  }
  return page_of(std::move(runs), std::move(curves));
}

}  // namespace annuli::report
