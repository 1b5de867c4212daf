#include "annuli/report/markdown_report.h"

#include <fmt/core.h>

#include <vector>

#include "annuli/core/markdown.h"
#include "annuli/core/text.h"
#include "annuli/report/markdown_phases.h"

namespace annuli::report {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string text(const Json& of, const char* key) {
  return of.at(key).get<std::string>();
}

std::string name_of(const Json& run) {
  const Json& plan = run.at("plan");
  return plan.is_null() ? text(run, "folder") : text(plan, "name");
}

// {"passed": n, "of": n, "failed": n} of a phase's verdicts, or of all.
struct Checks {
  size_t passed = 0;
  size_t failed = 0;
  size_t of = 0;

  std::string words() const {
    if (of == 0) return "-";
    const std::string all = fmt::format("{} of {}", passed, of);
    return failed > 0 ? fmt::format("{}, **{} failed**", all, failed) : all;
  }
};

Checks checks_of(const Json& run, const std::string& phase = "") {
  Checks checks;
  for (const Json& verdict : run.at("verdicts")) {
    if (!phase.empty() && verdict.at("phase") != phase) continue;
    ++checks.of;
    checks.passed += verdict.at("outcome") == "pass" ? 1 : 0;
    checks.failed += verdict.at("outcome") == "fail" ? 1 : 0;
  }
  return checks;
}

// Those that are set.
Json arguments_of(const Json& growth) {
  Json set = Json::object();
  const Json all = growth.value("arguments", Json());
  for (const auto& [key, value] : all.items()) {
    if (!value.is_null() && value != Json::array()) set[key] = value;
  }
  return set;
}

std::string growths_of(const Json& run) {
  if (run.at("growths").empty()) return "";
  Rows rows = {{"before phase", "operator", "jump of the probe's loss",
                "checks", "seconds"}};
  for (const Json& growth : run["growths"]) {
    rows.push_back({markdown_text(text(growth, "phase")),
                    markdown_code(growth.value("operator", "?") + " " +
                                  arguments_of(growth).dump()),
                    number_or_dash(growth, "jump", "{:+.1e}"),
                    checks_of(run, text(growth, "phase")).words(),
                    number_or_dash(growth, "growth_seconds", "{:.1f}")});
  }
  return "### Growth\n\n" + markdown_table(rows) + "\n";
}

std::string verdict_table(const std::vector<const Json*>& verdicts) {
  Rows rows = {
      {"phase", "check", "what was measured", "measured", "limit", ""}};
  for (const Json* verdict : verdicts) {
    const bool at_least = verdict->at("at_least").get<bool>();
    rows.push_back({markdown_text(text(*verdict, "phase")),
                    markdown_text(text(*verdict, "check")),
                    markdown_text(text(*verdict, "aspect")),
                    number_or_dash(*verdict, "measured", "{:.3g}"),
                    (at_least ? "at least " : "at most ") +
                        number_or_dash(*verdict, "limit", "{:.3g}"),
                    markdown_text(text(*verdict, "outcome"))});
  }
  return markdown_table(rows);
}

std::string verdicts_of_run(const Json& run) {
  std::vector<const Json*> passed;
  std::vector<const Json*> others;
  for (const Json& verdict : run.at("verdicts")) {
    (verdict.at("outcome") == "pass" ? passed : others).push_back(&verdict);
  }
  std::string out;
  if (!others.empty()) {
    out += "### Checks that did not pass\n\n" + verdict_table(others) + "\n";
  }
  if (passed.empty()) return out;
  return out + fmt::format(
                   "<details><summary>{} checks that pass</summary>\n\n{}\n"
                   "</details>\n\n",
                   passed.size(), verdict_table(passed));
}

std::string samples_of_run(const Json& run) {
  std::string out;
  for (const Json& sample : run.at("samples")) {
    out += fmt::format("{}, {}:\n\n{}\n", markdown_text(text(sample, "phase")),
                       markdown_text(text(sample, "how")),
                       markdown_block(text(sample, "text")));
  }
  if (out.empty()) return "";
  return "<details><summary>Samples by phase</summary>\n\n" + out +
         "</details>\n\n";
}

std::string head_of(const Json& run) {
  std::string out = fmt::format("## {}\n\n", markdown_text(name_of(run)));
  const Json& plan = run.at("plan");
  if (!plan.is_null()) {
    out += fmt::format("Plan {} (hash {}), seed {}, {}, {}, tokenizer {}. ",
                       markdown_code(text(plan, "name")),
                       text(plan, "hash").substr(0, 12), plan.at("seed").dump(),
                       text(plan, "precision"), text(plan, "optimizer"),
                       markdown_code(text(plan, "tokenizer")));
  }
  const Json& steps = run.at("steps");
  const auto last = [&](const char* key) {
    const Json& column = steps.value(key, Json::array());
    return column.empty() || !column.back().is_number()
               ? 0.0
               : column.back().get<double>();
  };
  return out + fmt::format(
                   "{}: {} steps, {} tokens, {}. Checks that pass: "
                   "{}.\n\n",
                   run.at("finished").get<bool>() ? "Finished" : "Not finished",
                   steps.at("count").dump(), format_count(last("tokens")),
                   format_duration(last("seconds")), checks_of(run).words());
}

std::string comparison_of(const Json& data) {
  if (data.at("comparison").empty()) return "";
  Rows rows = {{"at equal", "up to"}};
  for (const Json& run : data.at("runs")) {
    rows[0].push_back(markdown_text(name_of(run)));
  }
  for (const Json& row : data["comparison"]) {
    rows.push_back({text(row, "axis"), number_or_dash(row, "at", "{:.4g}")});
    for (size_t i = 0; i < row.at("losses").size(); ++i) {
      const std::string loss =
          fmt::format("{:.4f}", row["losses"][i].get<double>());
      const double difference = row.at("differences")[i];
      rows.back().push_back(
          i == 0 ? loss : fmt::format("{} ({:+.4f})", loss, difference));
    }
  }
  return "## Smoothed loss at equal cost\n\n" + markdown_table(rows) + "\n";
}

}  // namespace

std::string markdown_report(const Json& data) {
  std::string out = comparison_of(data);
  for (const Json& run : data.at("runs")) {
    out += head_of(run) + "### Phases\n\n" + markdown_phases(run) + "\n" +
           growths_of(run) + verdicts_of_run(run) + samples_of_run(run);
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace annuli::report
