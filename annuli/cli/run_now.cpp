#include "annuli/cli/run_now.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <string>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/lock_holder.h"
#include "annuli/core/text.h"
#include "annuli/report/run_data.h"
#include "annuli/train/history.h"

namespace annuli::cli {
namespace {

constexpr size_t kSteps = 20;  // of which a step's time is the mean

// The last step on record, and the seconds of it and the few before it in its
// phase.
struct LastSteps {
  Json record;
  std::deque<double> seconds;

  void see(Json line) {
    if (line.value("type", "") != "step") return;
    if (line.value("phase", "") != record.value("phase", "")) seconds.clear();
    seconds.push_back(line.at("tokens").get<double>() /
                      line.at("tokens_per_second").get<double>());
    if (seconds.size() > kSteps) seconds.pop_front();
    record = std::move(line);
  }
  double step_seconds() const {
    double sum = 0;
    for (const double one : seconds) sum += one;
    return sum / static_cast<double>(seconds.size());
  }
};

double age_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(path, error);
  if (error) return 0;
  const std::chrono::duration<double> age =
      std::filesystem::file_time_type::clock::now() - written;
  return std::max(age.count(), 0.0);
}

}  // namespace

Json describe_now(const std::filesystem::path& folder, const Plan& plan) {
  const auto history = report::history_of(folder);
  LastSteps last{.record = Json::object(), .seconds = {}};
  std::error_code ignored;
  if (!std::filesystem::exists(history, ignored)) return nullptr;
  try {
    train::visit_history(history,
                         [&](Json line) { last.see(std::move(line)); });
  } catch (const Json::exception& error) {
    user_error("reading {}: {}; expected the history of a run",
               history.string(), reason_of(error));
  }
  if (last.record.empty()) return nullptr;
  const std::string phase = last.record.at("phase");
  const auto step = last.record.at("step").get<int64_t>();
  const auto found = std::ranges::find(plan.phases, phase, &PhasePlan::name);
  const int64_t max_steps =
      found == plan.phases.end() ? step : found->train.max_steps;
  const auto holder = lock_holder(folder / ".lock");
  return {{"process", holder ? Json(*holder) : Json()},
          {"quiet_seconds", age_of(history)},
          {"phase", phase},
          {"step", step},
          {"max_steps", max_steps},
          {"loss", last.record.value("loss", Json())},
          {"step_seconds", last.step_seconds()},
          {"seconds_left",
           last.step_seconds() * static_cast<double>(max_steps - step)}};
}

void print_now(const Json& now) {
  const bool runs = !now.at("process").is_null();
  const auto duration = [&](const char* key) {
    return format_duration(now.at(key).get<double>());
  };
  fmt::print("{}phase {}, step {} of {}",
             runs ? "running     " : "stopped     ",
             now.at("phase").get<std::string>(), now.at("step").get<int64_t>(),
             now.at("max_steps").get<int64_t>());
  if (now.at("loss").is_number()) {
    fmt::print(", loss {:.4f}", now.at("loss").get<double>());
  }
  fmt::print(", {} ago", duration("quiet_seconds"));
  if (runs) {
    fmt::print("; {} a step, {} left in the phase; process {}",
               duration("step_seconds"), duration("seconds_left"),
               now.at("process").get<int64_t>());
  }
  fmt::print("\n");
}

}  // namespace annuli::cli
