#pragma once

#include <functional>
#include <thread>

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

}  // namespace annuli::cli
