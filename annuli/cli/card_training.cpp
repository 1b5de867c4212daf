#include "annuli/cli/card_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <system_error>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/markdown.h"
#include "annuli/core/notice.h"
#include "annuli/core/text.h"
#include "annuli/report/loss_curve.h"
#include "annuli/report/run_data.h"
#include "annuli/report/run_history.h"

namespace annuli::cli {
namespace {

using report::RunHistory;

// The folder of the run in which the model is a checkpoint.
std::optional<fs::path> run_of(const ModelFile& model) {
  std::error_code error;
  const fs::path folder = fs::absolute(model.path(), error).parent_path();
  if (model.format() != "pt" || folder.filename() != "checkpoints") {
    return std::nullopt;
  }
  const fs::path run = folder.parent_path();
  const bool is_run = fs::exists(run / "plan.yaml", error) &&
                      fs::exists(report::history_of(run), error);
  return is_run ? std::optional(run) : std::nullopt;
}

// The index in the history of the phase that ended with this checkpoint.
std::optional<int32_t> phase_of(const Plan& plan, const RunHistory& history,
                                const std::string& checkpoint) {
  for (const PhasePlan& phase : plan.phases) {
    if (phase.checkpoint != checkpoint) continue;
    const auto found = std::ranges::find(history.phases, phase.name);
    if (found == history.phases.end()) return std::nullopt;
    return static_cast<int32_t>(found - history.phases.begin());
  }
  return std::nullopt;
}

// The last evaluation of a phase; an empty object if there is none.
Json evaluation_of(const RunHistory& history, const std::string& phase) {
  Json last = Json::object();
  for (const report::Event& event : history.evaluations) {
    if (event.line.at("phase") == phase) last = event.line;
  }
  return last;
}

std::string phase_table(const RunHistory& history, int32_t last) {
  std::vector<std::vector<std::string>> rows = {
      {"phase", "steps", "tokens so far", "last loss", "held-out loss",
       "bits per byte"}};
  const report::Steps& steps = history.steps;
  for (int32_t phase = 0; phase <= last; ++phase) {
    const auto end = std::ranges::upper_bound(steps.phase, phase);
    const auto at = static_cast<size_t>(end - steps.phase.begin()) - 1;
    const std::string& name = history.phases[phase];
    const Json evaluation = evaluation_of(history, name);
    rows.push_back({markdown_text(name), fmt::format("{}", steps.step[at]),
                    format_count(steps.tokens[at]),
                    fmt::format("{:.4f}", steps.columns[report::kLoss][at]),
                    number_or_dash(evaluation, "eval_loss", "{:.4f}"),
                    number_or_dash(evaluation, "bits_per_byte", "{:.4f}")});
  }
  return markdown_table(rows);
}

std::vector<grow::CardMetric> metrics_of(const Json& evaluation) {
  std::vector<grow::CardMetric> metrics;
  const auto add = [&](const char* key, const char* type, const char* name) {
    const Json value = evaluation.value(key, Json());
    if (value.is_number()) metrics.push_back({type, name, value.get<double>()});
  };
  add("eval_loss", "loss", "Held-out loss, nats per token");
  add("bits_per_byte", "bits_per_byte", "Held-out bits per byte");
  return metrics;
}

grow::CardTraining training_in(const fs::path& run, const fs::path& model) {
  const Plan plan = load_plan(run / "plan.yaml");
  const RunHistory history = report::read_run_history(report::history_of(run));
  const auto phase = phase_of(plan, history, model.filename().string());
  if (!phase) return {};
  return {
      .markdown = fmt::format(
          "By the plan {}, seed {}, in {}, with {}.\n\n{}\n{}",
          markdown_code(plan.name), plan.seed, word_of(plan.precision),
          word_of(plan.optimizer.type), phase_table(history, *phase),
          report::loss_curve_svg(history, *phase)),
      .metrics = metrics_of(evaluation_of(history, history.phases[*phase]))};
}

}  // namespace

grow::CardTraining card_training(const ModelFile& model) {
  const auto run = run_of(model);
  if (!run) return {};
  try {
    return training_in(*run, model.path());
  } catch (const UserError& error) {
    notice("the model's card tells nothing of its training: {}", error.what());
    return {};
  }
}

}  // namespace annuli::cli
