#include "annuli/run/event_log.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/report/run_data.h"
#include "annuli/train/history.h"

namespace annuli::run {
namespace {

constexpr std::string_view kBegin = "events.out.tfevents.";
constexpr std::string_view kEnd = ".annuli";
constexpr size_t kDigits = 10;
// Who reads along is at one of the last ones, and can go on from there only.
constexpr size_t kKept = 5;

std::string name_of(int64_t number) {
  return fmt::format("{}{:0{}}{}", kBegin, number, kDigits, kEnd);
}

// The number in such a name; -1 for another.
int64_t number_of(const std::string& name) {
  if (name.size() != kBegin.size() + kDigits + kEnd.size() ||
      !name.starts_with(kBegin) || !name.ends_with(kEnd)) {
    return -1;
  }
  const std::string digits = name.substr(kBegin.size(), kDigits);
  const bool all =
      std::ranges::all_of(digits, [](char c) { return '0' <= c && c <= '9'; });
  return all ? std::stoll(digits) : -1;
}

double now() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// So that events of what is to come are of now.
report::HistoryEvents begin_of(const fs::path& history) {
  report::HistoryEvents passed(0);
  train::visit_history(history, [&](const Json& line) { passed.pass(line); });
  return report::HistoryEvents(now() - passed.seconds());
}

}  // namespace

fs::path event_folder(const fs::path& run) { return run / "tensorboard"; }

std::vector<fs::path> event_files(const fs::path& run) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(event_folder(run), ignored)) {
    if (number_of(entry.path().filename().string()) >= 0 &&
        entry.is_regular_file(ignored)) {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

EventLog::EventLog(const fs::path& run)
    : run_(run), events_(begin_of(report::history_of(run))) {
  const std::vector<fs::path> before = event_files(run);
  auto number = static_cast<int64_t>(now());
  if (!before.empty()) {
    number = std::max(number, number_of(before.back().filename()) + 1);
  }
  path_ = event_folder(run) / name_of(number);
  std::error_code error;
  fs::create_directories(event_folder(run), error);
  descriptor_ = ::open(
      path_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    user_error("writing the events {}: {}", path_.string(),
               std::strerror(errno));
  }
  write(report::begin_of_events(run_, events_.seconds(), /*restarts=*/true));
  train::visit_history(report::history_of(run), [&](const Json& line) {
    add(line);
    if (line.at("type") == "phase") add_samples(line.at("phase"));
  });
  for (size_t i = 0; i + kKept < before.size() + 1; ++i) {
    fs::remove(before[i], error);
  }
}

EventLog::~EventLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EventLog::write(const std::string& records) const {
  for (size_t done = 0; done < records.size();) {
    const ssize_t n =
        ::write(descriptor_, records.data() + done, records.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      user_error("writing the events {}: {}", path_.string(),
                 std::strerror(errno));
    }
    done += static_cast<size_t>(n);
  }
}

}  // namespace annuli::run
