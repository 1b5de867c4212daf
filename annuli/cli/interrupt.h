#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "annuli/checkpoint/output_folder.h"

// While it lives, SIGINT and SIGTERM end the program in order: `clean_up` runs
// on a thread of its own, whatever the others are doing, one line is printed,
// and the exit status is 128 + signal, as shells expect.
//
// One at a time. An exception that reaches the destructor after the signal came
// is a consequence of the clean-up; the destructor then waits for the end.
namespace annuli::cli {

class OnInterrupt {
 public:
  explicit OnInterrupt(std::function<void()> clean_up);
  ~OnInterrupt();
  OnInterrupt(const OnInterrupt&) = delete;
  OnInterrupt& operator=(const OnInterrupt&) = delete;

 private:
  void wait_for_signal();

  std::function<void()> clean_up_;
  std::thread watcher_;
};

// An OutputFolder that an interrupt discards, whenever it comes: the clean-up
// is in place before the folder is.
class InterruptibleFolder {
 public:
  template <typename... Arguments>
  explicit InterruptibleFolder(Arguments&&... arguments)
      : interrupt_([this] { discard(); }) {
    const std::lock_guard lock(mutex_);
    folder_.emplace(std::forward<Arguments>(arguments)...);
  }
  OutputFolder& operator*() { return *folder_; }

 private:
  void discard() {
    const std::lock_guard lock(mutex_);
    if (folder_) folder_->discard();
  }

  std::mutex mutex_;
  std::optional<OutputFolder> folder_;
  OnInterrupt interrupt_;  // last: it uses the others
};

}  // namespace annuli::cli
