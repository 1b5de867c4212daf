#include "annuli/report/run_files.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli::report {
namespace {

// Of a sample's text, which may be all that somebody put into the folder.
constexpr size_t kLongestText = 4000;
constexpr size_t kMostSamples = 64;  // of a phase
constexpr size_t kMostSessions = 100;

const char* outcome_of(const Json& verdict) {
  if (verdict.at("passed").get<bool>()) return "pass";
  if (verdict.value("allowed", false)) return "allowed";
  return verdict.value("is_advice", false) ? "advice" : "fail";
}

Json verdict_data(const Json& verdict, const std::string& phase,
                  const std::string& stage) {
  const Json& measured = verdict.at("measured");
  Json data = {
      {"phase", phase},
      {"stage", stage},
      {"check", verdict.at("check").get<std::string>()},
      {"aspect", verdict.at("aspect").get<std::string>()},
      {"measured", measured.is_null() ? Json() : Json(measured.get<double>())},
      {"limit", verdict.at("limit").get<double>()},
      {"at_least", verdict.value("at_least", false)},
      {"outcome", outcome_of(verdict)}};
  if (verdict.contains("note")) data["note"] = verdict["note"];
  if (verdict.contains("layer")) data["layer"] = verdict["layer"];
  if (verdict.contains("tensor")) data["tensor"] = verdict["tensor"];
  return data;
}

void add_verdicts(const fs::path& path, const std::string& phase, Json& list) {
  const Json file = read_json(path);
  if (!file.is_object()) {
    user_error("reading {}: it is no object; expected the verdicts of a run",
               path.string());
  }
  try {
    for (const char* stage : {"growth", "after_phase"}) {
      if (!file.contains(stage)) continue;
      for (const Json& verdict : file.at(stage)) {
        list.push_back(verdict_data(verdict, phase, stage));
      }
    }
  } catch (const Json::exception& error) {
    user_error("reading {}: {}; expected the verdicts of a run", path.string(),
               reason_of(error));
  }
}

Json record_data(const LineageRecord& record) {
  int64_t passed = 0;
  for (const Json& verdict : record.verdicts) {
    passed += verdict.at("passed").get<bool>() ? 1 : 0;
  }
  Json parents = record.parents;
  if (record.parents.empty()) parents = Json::array({record.parent});
  // The arguments of a beginning are a whole config, which phases show.
  const bool begins = record.op == "initialize";
  return {{"operator", record.op},
          {"arguments", begins ? Json::object() : record.arguments},
          {"seed", std::to_string(record.seed)},
          {"parents", parents},
          {"child", record.child},
          {"passed", passed},
          {"of", record.verdicts.size()},
          {"versions", record.versions}};
}

// The file of a phase in a folder of the run; empty where a phase, which a
// history may call anything, is no name of a file there.
fs::path file_of(const fs::path& folder, const std::string& phase,
                 const char* suffix) {
  const bool is_name = phase.find('/') == phase.npos &&
                       phase.find('\0') == phase.npos && phase.size() < 200;
  const fs::path path = is_name ? folder / (phase + suffix) : fs::path();
  return !path.empty() && is_file(path) ? path : fs::path();
}

// Of a line of sessions.jsonl what is as it should be; null if something is
// not.
Json session_data(const Json& line) {
  try {
    Json machines = Json::array();
    for (const Json& machine : line.at("machines")) {
      machines.push_back(
          {{"processor", machine.at("processor").get<std::string>()},
           {"hardware_threads", machine.at("hardware_threads").get<int64_t>()},
           {"memory_bytes", machine.at("memory_bytes").get<int64_t>()},
           {"kernels", machine.at("kernels").get<std::string>()},
           {"processes", machine.at("processes").get<int64_t>()}});
    }
    return {{"started", line.at("started").get<std::string>()},
            {"phase", line.at("phase").get<std::string>()},
            {"after_step", line.at("after_step").get<int64_t>()},
            {"program",
             line.at("program").get<std::map<std::string, std::string>>()},
            {"processes", line.at("processes").get<int64_t>()},
            {"threads", line.at("threads").get<int64_t>()},
            {"machines", std::move(machines)}};
  } catch (const Json::exception&) {
    return nullptr;
  }
}

// Takes the text of a samples file apart, line by line.
class SampleReader {
 public:
  SampleReader(std::string phase, Json& list)
      : phase_(std::move(phase)), list_(list) {}

  void read(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("=== ") || line == "===") {
        flush();
        prompt_ = line.size() > 4 ? line.substr(4) : "";
      } else if (line.starts_with("--- ")) {
        flush();
        how_ = line.substr(4);
      } else if (how_.empty()) {
        prompt_ += "\n" + line;
      } else {
        text_ += line + "\n";
      }
    }
    flush();
  }

 private:
  void flush() {
    while (text_.ends_with('\n')) text_.pop_back();
    if (!how_.empty() && count_ < kMostSamples) {
      ++count_;
      const bool cut = text_.size() > kLongestText;
      list_.push_back(
          {{"phase", phase_},
           {"prompt", prompt_.substr(0, kLongestText)},
           {"how", how_.substr(0, kLongestText)},
           {"text", text_.substr(0, kLongestText) + (cut ? " ..." : "")}});
    }
    how_.clear();
    text_.clear();
  }

  std::string phase_;
  Json& list_;
  size_t count_ = 0;
  std::string prompt_;
  std::string how_;
  std::string text_;
};

}  // namespace

Json verdicts_of(const fs::path& folder,
                 const std::vector<std::string>& phases) {
  Json list = Json::array();
  for (const std::string& phase : phases) {
    const fs::path path = file_of(folder / "verify", phase, ".json");
    if (!path.empty()) add_verdicts(path, phase, list);
  }
  return list;
}

Json lineage_of(const fs::path& folder) {
  Json list = Json::array();
  const fs::path path = folder / "lineage.json";
  if (!is_file(path)) return list;
  for (const LineageRecord& record : read_lineage(path)) {
    list.push_back(record_data(record));
  }
  return list;
}

Json sessions_of(const fs::path& folder) {
  std::vector<Json> sessions;
  const fs::path path = folder / "sessions.jsonl";
  if (!is_file(path)) return Json::array();
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (is_too_deep(line)) continue;
    Json session = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    session = session_data(session);
    if (!session.is_null()) sessions.push_back(std::move(session));
  }
  const size_t kept = std::min(sessions.size(), kMostSessions);
  return std::vector<Json>(sessions.end() - static_cast<ptrdiff_t>(kept),
                           sessions.end());
}

Json samples_of(const fs::path& folder,
                const std::vector<std::string>& phases) {
  Json list = Json::array();
  for (const std::string& phase : phases) {
    const fs::path path = file_of(folder / "samples", phase, ".txt");
    if (!path.empty()) SampleReader(phase, list).read(read_file(path));
  }
  return list;
}

}  // namespace annuli::report
