#include "tests/faults/judge.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <set>
#include <sstream>

#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "tests/resume/run_outcome.h"

namespace annuli::faults {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Samples that cannot be made end no run.
std::string without_warnings(const std::string& text) {
  std::string rest;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("warning: no samples of phase ")) rest += line + "\n";
  }
  return rest;
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    names.insert(fs::relative(item.path(), folder).string());
  }
  return names;
}

bool alike(const Json& found, const Json& expected) {
  if (expected.is_number_float()) {
    const auto number = expected.get<double>();
    return found.is_number() && std::abs(found.get<double>() - number) <=
                                    0.01 * std::max(1.0, std::abs(number));
  }
  if (found.type() != expected.type()) return false;
  if (expected.is_array()) return std::ranges::equal(found, expected, alike);
  if (!expected.is_object()) return expected.is_boolean() || found == expected;
  if (found.size() != expected.size()) return false;
  for (const auto& [key, value] : expected.items()) {
    if (!found.contains(key) || !alike(found.at(key), value)) return false;
  }
  return true;
}

// Last digits can send a token to another expert.
test::RunOutcome without_routes(const fs::path& run) {
  test::RunOutcome outcome = test::outcome_of(run);
  for (Json& line : outcome.history) {
    for (const char* key :
         {"dead_experts", "expert_load", "moe_load_imbalance"}) {
      line.erase(key);
    }
  }
  return outcome;
}

// `same` compares two lines.
template <typename Same>
std::string history_difference(const test::RunOutcome& found,
                               const test::RunOutcome& expected, Same same) {
  if (found.history.size() != expected.history.size()) {
    return fmt::format("{} lines of history, expected {}", found.history.size(),
                       expected.history.size());
  }
  for (size_t i = 0; i < found.history.size(); ++i) {
    if (!same(found.history[i], expected.history[i])) {
      return fmt::format("line {} of the history differs", i + 1);
    }
  }
  return "";
}

// `same` compares two checkpoints.
template <typename Same>
std::string other_checkpoint(const fs::path& run, const fs::path& reference,
                             Same same) {
  for (const auto& item : fs::directory_iterator(reference / "checkpoints")) {
    const fs::path file = run / "checkpoints" / item.path().filename();
    if (!fs::exists(file) || !same(file, item.path())) {
      return file.filename().string() + " differs";
    }
  }
  return "";
}

}  // namespace

std::string bad_ending(const Outcome& outcome, bool killed) {
  if (killed && outcome.status == kKilled) return "";
  if (outcome.status < 0 || outcome.status > 2) {
    return fmt::format("ended with status {}: {}", outcome.status,
                       first_line(outcome.err));
  }
  const std::string err = without_warnings(outcome.err);
  const auto lines = std::ranges::count(err, '\n');
  if (lines > 1 || (lines == 0 && outcome.status != 0)) {
    return fmt::format("status {} with {} lines on standard error: {}",
                       outcome.status, lines, outcome.err);
  }
  if (lines == 1 && !err.starts_with("annuli")) {
    return "a line that is not the program's: " + first_line(err);
  }
  return "";
}

std::string not_done(const std::string& doing, const Outcome& outcome) {
  if (outcome.status == 0) return "";
  return fmt::format("{}: status {}: {}", doing, outcome.status,
                     first_line(outcome.err));
}

std::string leftovers(const fs::path& folder) {
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    const bool temporary =
        item.path().filename().string().find(".tmp") != std::string::npos ||
        item.path().parent_path() == folder / "tmp";
    if (temporary) {
      return "left behind: " + fs::relative(item.path(), folder).string();
    }
  }
  return "";
}

std::string folder_difference(const fs::path& folder,
                              const fs::path& reference) {
  const std::set<std::string> names = names_in(folder);
  const std::set<std::string> expected = names_in(reference);
  if (names != expected) {
    return fmt::format("{} has {} files, expected {}",
                       folder.filename().string(), names.size(),
                       expected.size());
  }
  for (const std::string& name : names) {
    if (fs::is_directory(reference / name)) continue;
    if (read_file(folder / name) != read_file(reference / name)) {
      return fmt::format("{} differs", (folder.filename() / name).string());
    }
  }
  return "";
}

std::string run_difference(const fs::path& run, const fs::path& reference) {
  try {
    const test::RunOutcome expected = test::outcome_of(reference);
    const test::RunOutcome found = test::outcome_of(run);
    std::string lines =
        history_difference(found, expected, std::equal_to<Json>());
    if (!lines.empty()) return lines;
    return found.hashes == expected.hashes ? "" : "models differ";
  } catch (const std::exception& error) {
    return std::string("reading the run: ") + error.what();
  }
}

std::string checkpoint_difference(const fs::path& run,
                                  const fs::path& reference) {
  return other_checkpoint(run, reference,
                          [](const fs::path& found, const fs::path& expected) {
                            return read_file(found) == read_file(expected);
                          });
}

std::string run_unlikeness(const fs::path& run, const fs::path& reference) {
  try {
    std::string lines = history_difference(without_routes(run),
                                           without_routes(reference), alike);
    if (!lines.empty()) return lines;
    return other_checkpoint(
        run, reference, [](const fs::path& found, const fs::path& expected) {
          return fs::file_size(found) == fs::file_size(expected);
        });
  } catch (const std::exception& error) {
    return std::string("reading the run: ") + error.what();
  }
}

}  // namespace annuli::faults
