#include "annuli/report/summary.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/core/text.h"
#include "annuli/train/history.h"

namespace annuli::report {
namespace {

constexpr const char* kWhatIsExpected =
    "\nexpected: the guess that the plan holds; no check uses it\n";

// What the history says of one phase.
struct PhaseSummary {
  std::optional<Json> end;
  std::optional<double> jump;
  std::optional<double> first_loss;
  std::optional<double> last_loss;
  std::optional<double> eval_loss;
  double tokens = 0;
  double seconds = 0;
};

PhaseSummary summarise(const std::vector<Json>& records,
                       const std::string& phase) {
  PhaseSummary summary;
  for (const Json& record : records) {
    if (record.value("phase", "") != phase) continue;
    const std::string type = record.at("type");
    if (type == "phase") summary.end = record;
    if (type == "boundary") summary.jump = record.at("jump");
    if (type == "evaluation") summary.eval_loss = record.at("eval_loss");
    if (type != "step") continue;
    const double loss = record.at("loss");
    if (!summary.first_loss) summary.first_loss = loss;
    summary.last_loss = loss;
    const double tokens = record.at("tokens");
    summary.tokens += tokens;
    summary.seconds += tokens / record.at("tokens_per_second").get<double>();
  }
  return summary;
}

using Table = std::vector<std::vector<std::string>>;

std::string or_dash(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

std::string count(const Json& end, const char* key) {
  const double n = end.at(key);
  return n < 1e6 ? format_count(n) : fmt::format("{:.1f} M", n / 1e6);
}

void add_phase(Table& table, const PhasePlan& phase,
               const PhaseSummary& summary) {
  const Json& end = *summary.end;
  const auto seed = [&](const char* key) {
    const auto found = phase.expected.find(key);
    return found == phase.expected.end() ? std::string("-") : found->second;
  };
  table.push_back(
      {phase.name, count(end, "total_parameters"),
       count(end, "active_parameters"), or_dash(summary.first_loss, "{:.3f}"),
       or_dash(summary.last_loss, "{:.3f}"),
       or_dash(summary.eval_loss, "{:.3f}"), or_dash(summary.jump, "{:+.1e}"),
       fmt::format("{:.0f}", summary.tokens / summary.seconds),
       format_bytes(end.at("peak_memory_bytes").get<double>())});
  if (phase.expected.empty()) return;
  table.push_back(
      {"  expected", seed("total_parameters"), seed("active_parameters"),
       seed("loss_first"), seed("loss_last"), "-", seed("jump"), "-",
       phase.expected.contains("memory_gb") ? seed("memory_gb") + " GB" : "-"});
}

}  // namespace

std::string summary_table(const Plan& plan,
                          const std::filesystem::path& history) {
  const std::vector<Json> records = train::read_history(history);
  Table table;
  table.push_back({"phase", "parameters", "active", "loss first", "last",
                   "held-out", "jump", "tokens/s", "peak memory"});
  for (const PhasePlan& phase : plan.phases) {
    const PhaseSummary summary = summarise(records, phase.name);
    if (summary.end) add_phase(table, phase, summary);
  }
  const bool any_expected = std::ranges::any_of(
      plan.phases,
      [](const PhasePlan& phase) { return !phase.expected.empty(); });
  return fmt::format("\n{}{}", aligned(table, Align::kLeft),
                     any_expected ? kWhatIsExpected : "");
}

}  // namespace annuli::report
