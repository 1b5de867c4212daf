#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace annuli {

// Scratch spaces of an object that many threads use: each borrows one for a
// scope, and as many are made as were ever in use at once.
template <typename Scratch>
class ScratchPool {
 public:
  // Given back at the end of its scope. The pool must live until then.
  class Loan {
   public:
    Loan(ScratchPool& pool, std::unique_ptr<Scratch> scratch)
        : pool_(pool), scratch_(std::move(scratch)) {}
    ~Loan() { pool_.take_back(std::move(scratch_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Scratch& operator*() { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };

  // make() gives a new one where none is idle.
  template <typename Make>
  Loan borrow(Make&& make) {
    auto scratch = take_idle();
    return Loan(*this, scratch ? std::move(scratch) : make());
  }

 private:
  std::unique_ptr<Scratch> take_idle() {
    std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    auto scratch = std::move(idle_.back());
    idle_.pop_back();
    return scratch;
  }

  void take_back(std::unique_ptr<Scratch> scratch) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace annuli
