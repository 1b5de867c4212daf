#include "annuli/watch/live_page.h"

#include <fmt/core.h>

#include <random>

#include "annuli/report/page.h"

namespace annuli::watch {
namespace {

// No two servers that a browser may meet have the same.
std::string random_name() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

std::string text_of(const Json& data) {
  return data.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Text shared(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

Text event(const char* name, const std::string& data) {
  return shared(fmt::format("event: {}\ndata: {}\n\n", name, data));
}

}  // namespace

LivePage::LivePage(const std::vector<std::filesystem::path>& folders)
    : server_(random_name()) {
  for (const auto& folder : folders) {
    runs_.push_back(std::make_unique<LiveRun>(folder));
  }
  look(Clock::now());
}

std::vector<const LiveRun*> LivePage::shown() const {
  std::vector<const LiveRun*> shown;
  for (const auto& run : runs_) {
    if (run->has_steps()) shown.push_back(run.get());
  }
  return shown;
}

Json LivePage::live() const {
  Json waiting = Json::array();
  for (const auto& run : runs_) {
    if (run->has_steps()) continue;
    waiting.push_back({{"folder", run->run().folder.string()},
                       {"trouble", run->status().at("trouble")}});
  }
  return {{"server", server_},
          {"revision", revision_},
          {"waiting", std::move(waiting)}};
}

Json LivePage::all_data() const {
  Json runs = Json::array();
  std::vector<report::Curve> curves;
  const std::vector<const LiveRun*> shown = this->shown();
  for (const LiveRun* run : shown) {
    runs.push_back(run->data());
    if (shown.size() > 1) curves.push_back(report::curve_of(run->run()));
  }
  Json data = report::page_of(std::move(runs), std::move(curves));
  data["live"] = live();
  return data;
}

std::string LivePage::update(Clock::time_point now) {
  Json runs = Json::array();
  std::vector<report::Curve> curves;
  const size_t count = shown().size();
  for (const auto& run : runs_) {
    if (!run->has_steps()) continue;
    runs.push_back(run->update(now));
    if (count > 1) curves.push_back(report::curve_of(run->run()));
  }
  Json update = {{"base", revision_ - 1},
                 {"revision", revision_},
                 {"runs", std::move(runs)}};
  Json comparison = report::compare(curves);
  if (comparison != comparison_) update["comparison"] = comparison;
  comparison_ = std::move(comparison);
  return text_of(update);
}

void LivePage::look(Clock::time_point now) {
  looked_ = now;
  bool more = false;
  bool anew = revision_ == 0;
  for (const auto& run : runs_) {
    const LiveRun::Change change = run->refresh(now);
    more = more || change == LiveRun::Change::kMore;
    anew = anew || change == LiveRun::Change::kAnew;
  }
  if (!more && !anew) return;
  ++revision_;
  page_.reset();
  data_.reset();
  if (anew) {
    changes_.clear();
    for (const auto& run : runs_) run->tell_all(now);
    comparison_ = Json();
  } else {
    changes_.push_back(event("update", update(now)));
    if (changes_.size() > kKept) changes_.pop_front();
  }
  changed_.notify_all();
}

void LivePage::refresh(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (readers_ == 0 && now - looked_ < kBetweenUnread) return;
  look(now);
}

void LivePage::look_if_old() {
  const Clock::time_point now = Clock::now();
  if (now - looked_ >= kBetween) look(now);
}

Text LivePage::page() {
  const std::lock_guard lock(mutex_);
  look_if_old();
  if (!page_) page_ = shared(report::served_page(all_data()));
  return page_;
}

Text LivePage::data() {
  const std::lock_guard lock(mutex_);
  look_if_old();
  if (!data_) data_ = shared(text_of(all_data()));
  return data_;
}

std::optional<std::string> LivePage::steps(size_t run, int64_t from,
                                           int64_t to) {
  const std::lock_guard lock(mutex_);
  const std::vector<const LiveRun*> shown = this->shown();
  if (run >= shown.size()) return std::nullopt;
  return text_of(shown[run]->steps(from, to));
}

Text LivePage::wait(Place& place, Clock::duration most) {
  std::unique_lock lock(mutex_);
  const auto has_news = [&] {
    return place.server != server_ || place.revision != revision_;
  };
  changed_.wait_for(lock, most, [&] { return ended_ || has_news(); });
  if (!has_news()) return ended_ ? nullptr : shared(": nothing new\n\n");
  const int64_t behind = revision_ - place.revision;
  if (place.server == server_ && behind > 0 &&
      std::cmp_less_equal(behind, changes_.size())) {
    ++place.revision;
    return changes_[changes_.size() - static_cast<size_t>(behind)];
  }
  place = {.server = server_, .revision = revision_};
  return event("anew", std::to_string(revision_));
}

void LivePage::end() {
  const std::lock_guard lock(mutex_);
  look(Clock::now());
  ended_ = true;
  changed_.notify_all();
}

}  // namespace annuli::watch
