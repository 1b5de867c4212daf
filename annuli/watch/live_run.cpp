#include "annuli/watch/live_run.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/report/kept_steps.h"
#include "annuli/report/rounded.h"
#include "annuli/train/history.h"

namespace annuli::watch {
namespace {

namespace fs = std::filesystem;

// Heat maps are many numbers, and each step changes them a little.
constexpr std::chrono::seconds kBetweenLoads{5};

// Files that a run rewrites beside its history, and what tells whether it has.
std::map<std::string, std::string> stamps_of(const fs::path& folder) {
  std::map<std::string, std::string> stamps;
  const auto add = [&](const fs::path& path) {
    struct stat now = {};
    if (::stat(path.c_str(), &now) != 0) return;
    stamps[path.string()] =
        fmt::format("{}/{}/{}.{}", now.st_ino, now.st_size, now.st_mtim.tv_sec,
                    now.st_mtim.tv_nsec);
  };
  for (const char* name : {"plan.yaml", "lineage.json", "summary.json"}) {
    add(folder / name);
  }
  for (const char* name : {"verify", "samples"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder / name, error)) {
      add(entry.path());
    }
  }
  return stamps;
}

// The steps from the place `begin` on, of which none is left out.
std::vector<size_t> places(size_t begin, size_t end) {
  std::vector<size_t> all;
  for (size_t i = begin; i < end; ++i) all.push_back(i);
  return all;
}

}  // namespace

LiveRun::LiveRun(fs::path folder)
    : tail_(report::history_of(folder)),
      files_({{"finished", false},
              {"verdicts", Json::array()},
              {"lineage", Json::array()},
              {"samples", Json::array()}}) {
  run_.folder = std::move(folder);
  lines_ = report::history_lines(report::history_of(run_.folder), run_.history);
}

bool LiveRun::files_changed() {
  std::map<std::string, std::string> now = stamps_of(run_.folder);
  if (stamps_ == now) return false;
  stamps_ = std::move(now);
  return true;
}

HistoryTail::State LiveRun::look() {
  try {
    return tail_.look();
  } catch (const UserError& error) {  // it was removed a moment ago
    history_trouble_ = one_line(error.what());
    return HistoryTail::State::kSame;
  }
}

void LiveRun::begin_anew() {
  run_.history = {};
  lines_ = report::history_lines(report::history_of(run_.folder), run_.history);
  history_trouble_.clear();
  told_ = 0;
  smooth_from_ = 0;
}

void LiveRun::read_history() {
  history_trouble_.clear();
  const size_t before = run_.history.steps.size();
  try {
    tail_.read([&](std::string_view line) {
      lines_->add(train::parse_history_line(report::history_of(run_.folder),
                                            line, tail_.lines_read() + 1));
    });
  } catch (const UserError& error) {
    history_trouble_ = one_line(error.what());
  }
  run_.history.torn = tail_.is_torn();
  const size_t first = lines_->smooth();
  smooth_from_ =
      std::min(told_ == 0 ? 0 : smooth_from_, std::min(first, before));
}

void LiveRun::read_files() {
  try {
    files_trouble_.clear();
    report::read_plan(run_);
    report::complete(run_);
    files_ = report::files_data(run_);
  } catch (const UserError& error) {
    files_trouble_ = one_line(error.what());
  } catch (const fs::filesystem_error& error) {
    files_trouble_ = one_line(error.what());
  }
}

// What earlier steps have cost is counted in another way than was told.
bool LiveRun::costs_changed() const {
  if (told_ == 0) return false;
  return told_flops_ != (run_.flops.empty() ? 0 : run_.flops.at(told_ - 1));
}

LiveRun::Change LiveRun::refresh(Clock::time_point now) {
  const bool had_steps = has_steps();
  const bool files = files_changed();
  const HistoryTail::State state = look();
  if (state == HistoryTail::State::kAnew) begin_anew();
  if (state != HistoryTail::State::kSame) {
    read_history();
    report::complete(run_);
    const auto age = std::chrono::duration<double>(age_ ? 0 : tail_.age());
    age_ = age.count();
    last_line_ = now - std::chrono::duration_cast<Clock::duration>(age);
  }
  if (files || run_.phases != phases_) read_files();
  phases_ = run_.phases;
  Json status = status_at(now);
  const bool status_changed = status != status_;
  status_ = std::move(status);
  if (state == HistoryTail::State::kAnew || had_steps != has_steps() ||
      costs_changed() ||
      run_.history.steps.size() - told_ > report::kAllSteps) {
    return Change::kAnew;
  }
  if (!has_steps()) return status_changed ? Change::kAnew : Change::kNone;
  const bool loads = loads_wait_ && now - told_loads_ >= kBetweenLoads;
  return state != HistoryTail::State::kSame || files || status_changed || loads
             ? Change::kMore
             : Change::kNone;
}

Json LiveRun::status_at(Clock::time_point now) const {
  RunFacts facts = facts_of(run_, files_);
  if (age_) {
    facts.quiet_seconds =
        std::chrono::duration<double>(now - last_line_).count();
  }
  facts.trouble = history_trouble_.empty() ? files_trouble_ : history_trouble_;
  return status_of(facts);
}

Json LiveRun::rest() const {
  Json rest = report::history_data(run_);
  rest.update(files_);
  rest["folder"] = run_.folder.lexically_normal().string();
  rest["status"] = status_;
  return rest;
}

Json LiveRun::data() const {
  Json data = rest();
  data["steps"] = report::steps_data(run_, report::kept_steps(run_.history));
  return data;
}

Json LiveRun::steps(int64_t from, int64_t to) const {
  const auto count = static_cast<int64_t>(run_.history.steps.size());
  const int64_t begin = std::clamp<int64_t>(from - 1, 0, count);
  const int64_t end = std::clamp<int64_t>(to, begin, count);
  return report::steps_data(
      run_, report::kept_steps(run_.history, static_cast<size_t>(begin),
                               static_cast<size_t>(end)));
}

Json LiveRun::update(Clock::time_point now) {
  const report::Steps& steps = run_.history.steps;
  Json rest = this->rest();
  const bool wait = now - told_loads_ < kBetweenLoads &&
                    told_rest_.contains("loads") &&
                    rest.at("loads").size() == told_rest_.at("loads").size();
  loads_wait_ = wait && rest.at("loads") != told_rest_.at("loads");
  if (loads_wait_) {
    rest["loads"] = told_rest_.at("loads");
  } else {
    told_loads_ = now;
  }
  Json set = Json::object();
  for (const auto& [key, value] : rest.items()) {
    if (!told_rest_.contains(key) || told_rest_.at(key) != value) {
      set[key] = value;
    }
  }
  Json smooth = Json::array();
  for (size_t i = smooth_from_; i < steps.size(); ++i) {
    smooth.push_back(report::rounded(steps.columns[report::kSmoothLoss][i]));
  }
  Json update = {
      {"from", told_ + 1},
      {"steps", report::steps_data(run_, places(told_, steps.size()))},
      {"smooth_from", smooth_from_ + 1},
      {"smooth_loss", std::move(smooth)},
      {"set", std::move(set)}};
  told(std::move(rest));
  return update;
}

void LiveRun::tell_all(Clock::time_point now) {
  told_loads_ = now;
  loads_wait_ = false;
  told(rest());
}

void LiveRun::told(Json rest) {
  told_ = run_.history.steps.size();
  told_flops_ = run_.flops.empty() ? 0 : run_.flops.back();
  smooth_from_ = told_;
  told_rest_ = std::move(rest);
}

}  // namespace annuli::watch
