#pragma once

#include <ATen/record_function.h>

#include <cstdint>

// Counts, while it lives, the passes through a model that the thread which made
// it begins: how often tokens are embedded.
namespace annuli::test {

class PassCount {
 public:
  PassCount();
  ~PassCount();
  PassCount(const PassCount&) = delete;
  PassCount& operator=(const PassCount&) = delete;

  int64_t passes() const;

 private:
  at::CallbackHandle handle_;
};

}  // namespace annuli::test
