#include "annuli/study/results.h"

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/file_lock.h"
#include "annuli/train/history.h"

namespace annuli::study {
namespace {

Json to_json(const Result& result) {
  Json json = {{"arm", result.arm},
               {"seed", result.seed},
               {"rate", result.rate},
               {"point", result.point},
               {"plan_hash", result.plan_hash},
               {"flops", result.flops},
               {"source_flops", result.source_flops},
               {"tokens", result.tokens},
               {"bits_per_byte", nullptr},
               {"seconds", result.seconds},
               {"session", result.session}};
  if (result.bits_per_byte) json["bits_per_byte"] = *result.bits_per_byte;
  if (!result.failure.empty()) json["failure"] = result.failure;
  return json;
}

Result from_json(const Json& json) {
  Result result{.arm = json.at("arm"),
                .seed = json.at("seed"),
                .rate = json.at("rate"),
                .point = json.at("point"),
                .plan_hash = json.at("plan_hash"),
                .flops = json.at("flops"),
                .source_flops = json.at("source_flops"),
                .tokens = json.at("tokens"),
                .failure = json.value("failure", ""),
                .seconds = json.at("seconds"),
                .session = json.at("session")};
  const Json& loss = json.at("bits_per_byte");
  if (!loss.is_null()) result.bits_per_byte = loss.get<double>();
  return result;
}

}  // namespace

Results::Results(std::filesystem::path path) : path_(std::move(path)) {
  read();
}

void Results::read() {
  all_.clear();
  if (!is_file(path_)) return;
  try {
    for (const Json& json : train::read_history(path_)) {
      Result result = from_json(json);
      auto key = std::pair(result.arm, result.plan_hash);
      all_.insert_or_assign(std::move(key), std::move(result));
    }
  } catch (const Json::exception& error) {
    user_error(
        "reading the results {}: found a line that is none ({}), expected what "
        "annuli study writes; move the file away to measure anew",
        path_.string(), reason_of(error));
  }
}

const Result* Results::find(const std::string& arm,
                            const std::string& plan_hash) const {
  const auto found = all_.find({arm, plan_hash});
  return found == all_.end() ? nullptr : &found->second;
}

void Results::add(const Result& result) {
  const std::filesystem::path folder =
      path_.has_parent_path() ? path_.parent_path() : ".";
  std::filesystem::create_directories(folder);
  {
    const FileLock lock(folder);
    std::string text = is_file(path_) ? read_file(path_) : "";
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    write_file_atomically(path_, text + to_json(result).dump() + "\n");
  }
  read();
}

Result result_of_run(const std::filesystem::path& run) {
  Result result;
  train::visit_history(run / "training_history.jsonl", [&](const Json& line) {
    const std::string type = line.value("type", "");
    if (type == "step") {
      const auto tokens = line.at("tokens").get<int64_t>();
      result.tokens += tokens;
      result.seconds += static_cast<double>(tokens) /
                        line.at("tokens_per_second").get<double>();
    } else if (type == "evaluation") {
      result.bits_per_byte = line.at("bits_per_byte").get<double>();
    }
  });
  if (!result.bits_per_byte) {
    user_error(
        "reading the run {}: found no held-out loss, expected one; set "
        "evaluation.windows above 0",
        run.string());
  }
  return result;
}

}  // namespace annuli::study
