#include "annuli/report/markdown_phases.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "annuli/core/markdown.h"
#include "annuli/core/text.h"

namespace annuli::report {
namespace {

std::string count(const Json& of, const char* key) {
  const auto found = of.find(key);
  return found == of.end() || !found->is_number()
             ? "-"
             : format_count(found->get<double>());
}

std::string bytes(const Json& of, const char* key) {
  const auto found = of.find(key);
  return found == of.end() || !found->is_number()
             ? "-"
             : format_bytes(found->get<double>());
}

std::string name_of(const Json& phase) {
  return phase.at("name").get<std::string>();
}

// What the steps on the page say of one phase.
struct PhaseSteps {
  std::optional<double> first_loss;
  std::optional<double> last_loss;
  int64_t last_step = 0;
  std::vector<double> rates;  // tokens per second

  std::string losses() const {
    if (!first_loss) return "-";
    return fmt::format("{:.4f} -> {:.4f}", *first_loss, *last_loss);
  }
  std::string rate() {
    if (rates.empty()) return "-";
    const auto middle = rates.begin() + std::ssize(rates) / 2;
    std::ranges::nth_element(rates, middle);
    return fmt::format("{:.0f}", *middle);
  }
};

PhaseSteps steps_of(const Json& run, size_t phase) {
  const Json& steps = run.at("steps");
  PhaseSteps found;
  for (size_t i = 0; i < steps.at("phase").size(); ++i) {
    if (steps["phase"][i] != phase) continue;
    const double loss = steps.at("loss")[i];
    if (!found.first_loss) found.first_loss = loss;
    found.last_loss = loss;
    found.last_step = steps.at("step")[i];
    const Json& rates = steps.value("tokens_per_second", Json::array());
    if (i < rates.size() && rates[i].is_number())
      found.rates.push_back(rates[i]);
  }
  return found;
}

// The last evaluation of the phase; an empty object if there is none.
Json evaluation_of(const Json& run, const std::string& phase) {
  Json last = Json::object();
  for (const Json& evaluation : run.at("evaluations")) {
    if (evaluation.at("phase") == phase) last = evaluation;
  }
  return last;
}

std::string shape_of(const Json& phase) {
  if (!phase.contains("shape")) return "-";
  const Json& shape = phase["shape"];
  std::string words = fmt::format("{} x {}", shape.at("layers").dump(),
                                  shape.at("hidden_size").dump());
  if (shape.contains("experts")) {
    words += fmt::format(", {} experts", shape["experts"].dump());
  }
  return words;
}

}  // namespace

std::string markdown_phases(const Json& run) {
  std::vector<std::vector<std::string>> rows = {
      {"phase", "shape", "parameters", "active", "steps", "loss", "held-out",
       "bits/byte", "tokens/s", "peak memory", "planned"}};
  const Json& phases = run.at("phases");
  for (size_t i = 0; i < phases.size(); ++i) {
    const Json& phase = phases[i];
    PhaseSteps steps = steps_of(run, i);
    const Json evaluation = evaluation_of(run, name_of(phase));
    rows.push_back(
        {markdown_text(name_of(phase)), shape_of(phase),
         count(phase, "total_parameters"), count(phase, "active_parameters"),
         fmt::format("{} of {}", steps.last_step,
                     number_or_dash(phase, "max_steps", "{:.0f}")),
         steps.losses(), number_or_dash(evaluation, "eval_loss", "{:.4f}"),
         number_or_dash(evaluation, "bits_per_byte", "{:.3f}"), steps.rate(),
         bytes(phase, "peak_memory_bytes"),
         bytes(phase, "planned_peak_bytes")});
  }
  return markdown_table(rows);
}

}  // namespace annuli::report
