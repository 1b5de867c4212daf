#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

// Work that goes on beside the thread that makes it.
namespace annuli {

// A thread that carries out tasks in the order in which they were posted.
//
// After a task has thrown, the others are dropped undone and `check` and
// `finish` throw its exception. Destroyed without `finish`, it drops what is
// left and waits for the task at hand.
class Worker {
 public:
  Worker();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void post(std::function<void()> task);
  // Waits while more than `most` tasks are waiting.
  void wait_below(size_t most);
  void check();
  void finish();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::exception_ptr failure_;
  bool busy_ = false;
  bool stop_ = false;
  std::jthread thread_;  // last: it uses the others
};

// A fixed number of buffers of one size: whoever makes data faster than it is
// used waits here. A buffer comes back when the last holder lets go of it; it
// may outlive the pool.
class BufferPool {
 public:
  BufferPool(size_t count, size_t bytes);
  size_t bytes() const;
  std::shared_ptr<std::byte> take();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace annuli
