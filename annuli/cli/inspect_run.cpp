#include "annuli/cli/inspect_run.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/cli/run_now.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/report/run_data.h"
#include "annuli/train/history.h"

namespace annuli::cli {
namespace {

constexpr const char* kState = "state";
constexpr const char* kSummary = "summary.json";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// What the history says of one phase so far.
struct PhaseProgress {
  int64_t steps = 0;
  Json first_loss;  // null before the first step
  Json last_loss;
  Json eval_loss;
  bool ended = false;
};

std::map<std::string, PhaseProgress> read_phases(const fs::path& history) {
  std::map<std::string, PhaseProgress> phases;
  for (const Json& record : train::read_history(history)) {
    PhaseProgress& phase = phases[record.value("phase", "")];
    const std::string type = record.value("type", "");
    if (type == "phase") phase.ended = true;
    if (type == "evaluation")
      phase.eval_loss = record.value("eval_loss", Json());
    if (type != "step") continue;
    phase.steps = record.value("step", int64_t{0});
    phase.last_loss = record.value("loss", Json());
    if (phase.first_loss.is_null()) phase.first_loss = phase.last_loss;
  }
  return phases;
}

// {"growth": {"passed": 8, "of": 9, "failed": [...]}, ...}
Json count_verdicts(const fs::path& path) {
  Json counts = Json::object();
  if (!is_there(path)) return counts;
  const Json stages = read_json(path);
  for (const auto& [stage, verdicts] : stages.items()) {
    Json failed = Json::array();
    for (const Json& verdict : verdicts) {
      if (!verdict.value("passed", false)) failed.push_back(verdict);
    }
    counts[stage] = {{"passed", verdicts.size() - failed.size()},
                     {"of", verdicts.size()},
                     {"failed", failed}};
  }
  return counts;
}

// One line each, of all phases.
void print_failed(const Json& phases) {
  for (const Json& phase : phases) {
    for (const auto& [stage, count] : phase.at("verdicts").items()) {
      for (const Json& verdict : count.at("failed")) {
        const bool counts = !verdict.value("allowed", false) &&
                            !verdict.value("is_advice", false);
        fmt::print("{:<11} {}, phase {}: {}: {} {} {}\n",
                   counts ? "failed" : "warning",
                   verdict.at("check").get<std::string>(),
                   phase.at("name").get<std::string>(),
                   verdict.at("aspect").get<std::string>(),
                   verdict.at("measured").dump(),
                   verdict.value("at_least", false) ? ">=" : "<=",
                   verdict.at("limit").dump());
      }
    }
  }
}

Json describe_phase(const fs::path& folder, const PhasePlan& plan,
                    const PhaseProgress& progress) {
  const fs::path checkpoint = folder / "checkpoints" / plan.checkpoint;
  return {
      {"name", plan.name},
      {"steps", progress.steps},
      {"max_steps", plan.train.max_steps},
      {"ended", progress.ended},
      {"loss_first", progress.first_loss},
      {"loss_last", progress.last_loss},
      {"eval_loss", progress.eval_loss},
      {"checkpoint", is_there(checkpoint) ? Json(checkpoint.string()) : Json()},
      {"verdicts", count_verdicts(folder / "verify" / (plan.name + ".json"))}};
}

std::string loss_text(const Json& loss) {
  return loss.is_number() ? fmt::format("{:.4f}", loss.get<double>()) : "-";
}

std::string verdict_text(const Json& verdicts) {
  std::vector<std::string> stages;
  for (const char* stage : {"growth", "after_phase"}) {
    const Json count = verdicts.value(stage, Json::object());
    if (count.value("of", 0) == 0) continue;
    stages.push_back(fmt::format("{} {}/{}", stage,
                                 count.at("passed").get<int64_t>(),
                                 count.at("of").get<int64_t>()));
  }
  return stages.empty() ? "-" : fmt::format("{}", fmt::join(stages, ", "));
}

void print_phases(const Json& phases) {
  size_t width = 5;
  for (const Json& phase : phases) {
    width =
        std::max(width, phase.at("name").get_ref<const std::string&>().size());
  }
  fmt::print("{:<{}}  {:>11}  {:>10}  {:>9}  {:>9}  verdicts passed\n", "phase",
             width, "steps", "loss first", "last", "held-out");
  for (const Json& phase : phases) {
    const std::string steps =
        fmt::format("{}/{}", phase.at("steps").get<int64_t>(),
                    phase.at("max_steps").get<int64_t>());
    fmt::print(
        "{:<{}}  {:>11}  {:>10}  {:>9}  {:>9}  {}\n",
        phase.at("name").get<std::string>(), width, steps,
        loss_text(phase.at("loss_first")), loss_text(phase.at("loss_last")),
        loss_text(phase.at("eval_loss")), verdict_text(phase.at("verdicts")));
  }
}

std::string short_hash(const Json& record, const char* key) {
  const std::string hash = record.value(key, "");
  return hash.empty() ? "-" : hash.substr(0, 12);
}

// "  (14 checks passed)", and the names of those that did not.
std::string verdict_summary(const Json& record) {
  const Json verdicts = record.value("verdicts", Json::array());
  if (verdicts.empty()) return "";
  int64_t passed = 0;
  std::string failed;
  for (const Json& verdict : verdicts) {
    if (verdict.at("passed").get<bool>()) {
      ++passed;
    } else {
      failed += fmt::format(
          ", {} {}", verdict.at("check").get<std::string>(),
          verdict.value("allowed", false) ? "failed (allowed)" : "failed");
    }
  }
  return fmt::format("  ({} of {} verdicts passed{})", passed, verdicts.size(),
                     failed);
}

// UserError if a finished run's history is not what its summary says, or any
// other's not what the newest state does.
void check_history(const fs::path& folder, const std::optional<Json>& state) {
  if (is_there(folder / kSummary)) {
    train::require_unchanged(
        report::history_of(folder),
        train::mark_from_json(read_json(folder / kSummary)));
  } else if (state) {
    train::require_unchanged(report::history_of(folder),
                             train::mark_from_json(*state));
  }
}

}  // namespace

bool is_run_folder(const fs::path& path) {
  return is_there(report::history_of(path)) || is_there(path / "plan.yaml");
}

Json describe_run(const fs::path& folder) {
  const Plan plan = load_plan(folder / "plan.yaml");
  std::map<std::string, PhaseProgress> progress;
  if (is_there(report::history_of(folder)))
    progress = read_phases(report::history_of(folder));
  Json phases = Json::array();
  for (const PhasePlan& phase : plan.phases) {
    phases.push_back(describe_phase(folder, phase, progress[phase.name]));
  }
  Json run = {{"path", folder.string()},
              {"format", "run"},
              {"name", plan.name},
              {"plan_hash", plan_hash(plan)},
              {"finished", is_there(folder / kSummary)},
              {"phases", phases},
              {"now", describe_now(folder, plan)}};
  const auto saved = load_progress(folder / kState);
  check_history(folder, saved);
  if (saved) {
    const size_t phase = saved->at("phase");
    run["resumes_from"] = {
        {"phase", phase < plan.phases.size() ? plan.phases[phase].name
                                             : std::to_string(phase)},
        {"step", saved->at("step")}};
  }
  if (is_there(folder / "lineage.json")) {
    run["lineage"] = to_json(read_lineage(folder / "lineage.json"));
  }
  return run;
}

void print_run(const Json& run) {
  fmt::print("{}: run '{}', {}\n\n", run.at("path").get<std::string>(),
             run.at("name").get<std::string>(),
             run.at("finished").get<bool>() ? "finished" : "not finished");
  print_phases(run.at("phases"));
  fmt::print("\n");
  const bool finished = run.at("finished").get<bool>();
  if (!finished && !run.at("now").is_null()) print_now(run.at("now"));
  print_failed(run.at("phases"));
  for (const Json& phase : run.at("phases")) {
    if (phase.at("checkpoint").is_null()) continue;
    fmt::print("checkpoint  {}\n", phase.at("checkpoint").get<std::string>());
  }
  if (run.contains("resumes_from") && !finished) {
    fmt::print("resumes     in phase {} after step {}\n",
               run.at("resumes_from").at("phase").get<std::string>(),
               run.at("resumes_from").at("step").get<int64_t>());
  }
  if (run.contains("lineage")) print_lineage(run.at("lineage"));
}

Json describe_training_state(const fs::path& folder) {
  std::optional<Json> progress = load_progress(folder);
  if (!progress) {
    user_error("inspecting {}: no training state was ever completed there",
               folder.string());
  }
  return {{"path", folder.string()},
          {"format", "training_state"},
          {"progress", std::move(*progress)}};
}

void print_training_state(const Json& state) {
  const Json& progress = state.at("progress");
  fmt::print("{}: training state\n", state.at("path").get<std::string>());
  for (const char* key :
       {"phase", "step", "plan_hash", "loader", "history_bytes", "config"}) {
    if (progress.contains(key)) {
      fmt::print("{:<14} {}\n", key, progress[key].dump());
    }
  }
  if (progress.contains("lineage")) print_lineage(progress["lineage"]);
}

void print_lineage(const Json& lineage) {
  fmt::print("\nlineage\n");
  for (const Json& record : lineage.at("records")) {
    const std::string op = record.at("operator");
    // The arguments of a beginning are the config, which stands elsewhere.
    fmt::print("  {:<12} -> {:<12}  {:<10}  {}{}\n",
               short_hash(record, "parent"), short_hash(record, "child"), op,
               op == "initialize"
                   ? fmt::format("seed {}", record.at("seed").dump())
                   : record.at("arguments").dump(),
               verdict_summary(record));
  }
}

}  // namespace annuli::cli
