#include "annuli/report/tensorboard.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "annuli/checkpoint/output_place.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/machine.h"
#include "annuli/report/run_data.h"
#include "annuli/report/run_files.h"
#include "annuli/train/history.h"

namespace annuli::report {
namespace {

// Keys of a step's line that have a tag of their own.
constexpr std::array<std::pair<const char*, const char*>, 4> kTags = {{
    {"loss", "train/loss"},
    {"grad_norm", "train/grad_norm"},
    {"learning_rate", "train/learning_rate"},
    {"tokens_per_second", "throughput(tps)"},
}};
constexpr std::array<const char*, 3> kNotShown = {"step", "tokens",
                                                  "peak_memory_bytes"};

// A figure of each layer: a tag for each.
constexpr std::array<const char*, 2> kOfLayers = {"weight_rms", "stream_rms"};

// A histogram is 16 bytes an expert, and TensorBoard shows some hundred.
constexpr int64_t kStepsOfLoad = 10;

const char* tag_of(const std::string& key) {
  for (const auto& [known, tag] : kTags) {
    if (key == known) return tag;
  }
  return nullptr;
}

bool is_shown(const std::string& key) {
  return std::ranges::find(kNotShown, key) == kNotShown.end();
}

// As Markdown shows it letter by letter.
std::string as_code(const std::string& text) {
  std::string code = "    ";
  for (const char c : text) {
    code += c;
    if (c == '\n') code += "    ";
  }
  return code;
}

void add_numbers(const Json& line, const std::string& prefix,
                 EventValues& values) {
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || !is_shown(key)) continue;
    const char* tag = tag_of(key);
    values.add_scalar(tag != nullptr && prefix == "train/" ? tag : prefix + key,
                      value.get<double>());
  }
}

// The bare words of a growth step; its numbers are scalars.
void add_growth(const Json& line, EventValues& values) {
  add_numbers(line, "growth/", values);
  values.add_text(
      "growth",
      fmt::format("phase {}: {} {}", line.at("phase").get<std::string>(),
                  line.at("operator").get<std::string>(),
                  line.value("arguments", Json()).dump()));
}

void add_samples(const fs::path& run, const std::string& phase,
                 EventValues& values) {
  std::map<std::string, int> prompts;
  for (const Json& sample : samples_of(run, {phase})) {
    const auto prompt = sample.at("prompt").get<std::string>();
    const int number =
        prompts.try_emplace(prompt, static_cast<int>(prompts.size()) + 1)
            .first->second;
    values.add_text(fmt::format("samples/{} {}", number,
                                sample.at("how").get<std::string>()),
                    as_code(prompt + sample.at("text").get<std::string>()));
  }
}

double seconds_of(std::filesystem::file_time_type time) {
  return std::chrono::duration<double>(
             std::chrono::file_clock::to_sys(time).time_since_epoch())
      .count();
}

int64_t write_events(const fs::path& run, const fs::path& folder) {
  const double seconds = seconds_of(fs::last_write_time(history_of(run)));
  HistoryEvents events(seconds);
  AtomicFile file(folder / fmt::format("events.out.tfevents.{:010}.{}.{}.0",
                                       static_cast<int64_t>(seconds),
                                       host_name(), ::getpid()));
  file.write(begin_of_events(run, seconds));
  train::visit_history(history_of(run), [&](const Json& line) {
    file.write(events.of(line));
    if (line.at("type") != "phase") return;
    file.write(events.of_samples(run, line.at("phase").get<std::string>()));
  });
  file.commit();
  return events.step();
}

}  // namespace

void HistoryEvents::add_load(const Json& line, EventValues& values) const {
  if (line.at("step").get<int64_t>() % kStepsOfLoad != 1) return;
  size_t layer = 0;
  for (const Json& slots : line.at("expert_load")) {
    values.add_bars(fmt::format("expert_load/layer {}", layer++),
                    slots.get<std::vector<int64_t>>());
  }
}

void HistoryEvents::add_step(const Json& line, EventValues& values) const {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  add_numbers(line, "train/", values);
  values.add_scalar("train/num_input_tokens_seen",
                    static_cast<double>(tokens_));
  if (line.contains("peak_memory_bytes")) {
    values.add_scalar("memory/max_active(GiB)",
                      line.at("peak_memory_bytes").get<double>() / kGiB);
  }
  for (const char* key : kOfLayers) {
    if (!line.contains(key)) continue;
    size_t layer = 0;
    for (const Json& value : line.at(key)) {
      const std::string tag = fmt::format("{}/layer {}", key, layer++);
      if (value.is_number()) values.add_scalar(tag, value.get<double>());
    }
  }
  if (line.contains("expert_load")) add_load(line, values);
}

void HistoryEvents::pass(const Json& line) {
  const auto type = line.at("type").get<std::string>();
  if (type == "step") {
    const auto tokens = line.at("tokens").get<int64_t>();
    ++step_;
    tokens_ += tokens;
    if (!line.contains("tokens_per_second")) return;
    const auto rate = line.at("tokens_per_second").get<double>();
    if (rate > 0) seconds_ += static_cast<double>(tokens) / rate;
  } else if (type == "boundary") {
    seconds_ += line.value("seconds", 0.0);
  } else if (type == "phase") {
    seconds_ += line.value("proof_seconds", 0.0);
  }
}

std::string HistoryEvents::of(const Json& line) {
  pass(line);
  EventValues values;
  const auto type = line.at("type").get<std::string>();
  if (type == "step") {
    add_step(line, values);
  } else if (type == "boundary") {
    add_growth(line, values);
  } else if (type == "evaluation") {
    const Json loss = line.value("eval_loss", Json());
    if (loss.is_number()) values.add_scalar("eval/loss", loss.get<double>());
    const Json bits = line.value("bits_per_byte", Json());
    if (bits.is_number()) {
      values.add_scalar("eval/bits_per_byte", bits.get<double>());
    }
  } else if (type == "phase") {
    add_numbers(line, "model/", values);
  }
  return values.empty() ? "" : event_record(step_, seconds_, values);
}

std::string HistoryEvents::of_samples(const fs::path& run,
                                      const std::string& phase) const {
  EventValues values;
  add_samples(run, phase, values);
  return values.empty() ? "" : event_record(step_, seconds_, values);
}

std::string begin_of_events(const fs::path& run, double seconds,
                            bool restarts) {
  std::string records = first_record(seconds);
  if (restarts) records += restart_record(seconds);
  if (!is_file(run / "plan.yaml")) return records;
  EventValues settings;
  settings.add_settings(settings_of(to_json(load_plan(run / "plan.yaml"))));
  return records + event_record(0, seconds, settings);
}

std::map<std::string, Json> settings_of(const Json& plan) {
  std::map<std::string, Json> settings;
  const Json flat = plan.flatten();
  for (const auto& [path, value] : flat.items()) {
    std::string name = path.substr(1);
    std::ranges::replace(name, '/', '.');
    settings[name] = value;
  }
  return settings;
}

void check_tensorboard(const fs::path& run, const fs::path& folder) {
  require_run(run);
  check_output_name(folder);
  if (is_there(folder) && !fs::is_empty(folder)) {
    user_error(
        "writing events into {}: it is not empty, expected a new folder; "
        "choose another name",
        folder.string());
  }
}

int64_t write_tensorboard(const fs::path& run, const fs::path& folder) {
  const bool is_new = fs::create_directories(folder);
  const auto leave_nothing = [&] {
    std::error_code ignored;
    if (is_new) fs::remove(folder, ignored);
  };
  try {
    return write_events(run, folder);
  } catch (const Json::exception& error) {
    leave_nothing();
    user_error("reading the history {}: {}; expected lines that a run wrote",
               history_of(run).string(), reason_of(error));
  } catch (...) {
    leave_nothing();
    throw;
  }
}

}  // namespace annuli::report
