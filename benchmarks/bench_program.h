#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <thread>

#include "annuli/core/memory.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/kernels/threads.h"

namespace annuli::bench {

// Runs a benchmark's `run` with memory and threads set up as `annuli` sets them
// up. The exit status: 0, or 2 after one line that begins with `name`.
inline int bench_program(const char* name, const std::function<void()>& run) {
  tune_malloc();
  kernels::use_caching_allocator();
  kernels::set_num_threads(
      static_cast<int>(std::thread::hardware_concurrency()));
  try {
    run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 2;
  }
  return 0;
}

}  // namespace annuli::bench
