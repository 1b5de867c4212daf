#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/watch/live_run.h"

// The page of runs that go on, for any number of readers in threads of their
// own.
//
// Each change has a number, its revision. A reader has the page as of one, and
// then asks for what follows: the changes, or that it must fetch the page's
// data again, if what it has is too old, of another server, or no more the
// beginning of what there is now. What is sent is made once for all readers,
// and the last kKept changes are held, however slow a reader is.
namespace annuli::watch {

using Text = std::shared_ptr<const std::string>;

class LivePage {
 public:
  static constexpr size_t kKept = 8;
  static constexpr std::chrono::seconds kBetween{1};  // two looks at the files
  // The same while nobody reads.
  static constexpr std::chrono::seconds kBetweenUnread{10};

  explicit LivePage(const std::vector<std::filesystem::path>& folders);

  // Looks at the files. One thread calls it every kBetween.
  void refresh(Clock::time_point now = Clock::now());

  Text page();
  Text data();
  // The steps of a run that is shown (its place) between two numbers. Nothing
  // if there is no such run.
  std::optional<std::string> steps(size_t run, int64_t from, int64_t to);

  // Where a reader stands.
  struct Place {
    std::string server;  // "live.server" of the data
    int64_t revision = 0;
  };
  // What follows, as events of a text/event-stream; moves the place. Waits for
  // it up to `most`, and gives a comment if there is nothing. Nothing at all
  // once `end` was called and all was given.
  Text wait(Place& place, Clock::duration most);
  // Counted, so that an unread page costs little.
  void add_reader() { ++readers_; }
  void remove_reader() { --readers_; }
  int readers() const { return readers_; }

  // What waits, and will wait, gets what there is and ends.
  void end();

 private:
  Json all_data() const;
  Json live() const;
  std::vector<const LiveRun*> shown() const;
  void look(Clock::time_point now);
  void look_if_old();
  std::string update(Clock::time_point now);

  const std::string server_;
  std::atomic<int> readers_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<LiveRun>> runs_;
  Clock::time_point looked_;
  int64_t revision_ = 0;
  Json comparison_;
  std::deque<Text> changes_;  // up to `revision_`
  Text page_;                 // of `revision_`, if somebody asked
  Text data_;
  bool ended_ = false;
};

}  // namespace annuli::watch
