#pragma once

#include <functional>
#include <future>
#include <utility>

// Operations of a process group that go on while the caller does something
// else.
namespace annuli::parallel {

class ProcessGroup;

// What is to be done with the group, operation by operation.
using Operations = std::function<void(ProcessGroup& group)>;

// Who begins operations waits for them before using what they give. Destroyed,
// it waits too, so that what the operations refer to may be destroyed next.
class Begun {
 public:
  Begun() = default;  // nothing to wait for
  explicit Begun(std::future<void> done) : done_(std::move(done)) {}
  ~Begun() { settle(); }
  Begun(Begun&& other) noexcept = default;
  Begun& operator=(Begun&& other) noexcept {
    settle();
    done_ = std::move(other.done_);
    return *this;
  }

  // Returns when all is done; throws what they threw. A second time there is
  // nothing to wait for.
  void wait() {
    if (done_.valid()) done_.get();
  }

 private:
  void settle() noexcept {
    if (done_.valid()) done_.wait();
  }

  std::future<void> done_;
};

// Carries them out in this thread, before it returns.
Begun begin_now(ProcessGroup& group, Operations operations);

}  // namespace annuli::parallel
