#include "annuli/core/worker.h"

#include <utility>

namespace annuli {

Worker::Worker() : thread_([this] { run(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    tasks_.clear();
  }
  changed_.notify_all();
}

void Worker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    busy_ = true;
    const bool drop = failure_ != nullptr;
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (!drop) task();
    } catch (...) {
      failure = std::current_exception();
    }
    task = nullptr;  // what it holds is let go outside the lock
    lock.lock();
    busy_ = false;
    if (failure) failure_ = failure;
    changed_.notify_all();
  }
}

void Worker::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Worker::wait_below(size_t most) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return tasks_.size() <= most; });
}

void Worker::check() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

void Worker::finish() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty() && !busy_; });
  }
  check();
}

struct BufferPool::State {
  std::mutex mutex;
  std::condition_variable returned;
  size_t bytes = 0;
  std::vector<std::unique_ptr<std::byte[]>> free;
};

BufferPool::BufferPool(size_t count, size_t bytes)
    : state_(std::make_shared<State>()) {
  state_->bytes = bytes;
  for (size_t i = 0; i < count; ++i) {
    state_->free.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
  }
}

size_t BufferPool::bytes() const { return state_->bytes; }

std::shared_ptr<std::byte> BufferPool::take() {
  std::unique_lock lock(state_->mutex);
  state_->returned.wait(lock, [this] { return !state_->free.empty(); });
  std::byte* buffer = state_->free.back().release();
  state_->free.pop_back();
  return {buffer, [state = state_](std::byte* returned) {
            {
              const std::lock_guard guard(state->mutex);
              state->free.emplace_back(returned);
            }
            state->returned.notify_one();
          }};
}

}  // namespace annuli
