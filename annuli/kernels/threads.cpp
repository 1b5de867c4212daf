#include "annuli/kernels/threads.h"

#include <ATen/Parallel.h>

#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "annuli/core/error.h"

namespace annuli::kernels {
namespace {

// LibTorch's own pool waits for ever for threads that could not be started, as
// happens where memory is bounded: whether they can is tried first. No more
// than those: the stacks of threads that have ended are kept, and are then
// missing elsewhere.
void require_threads(int threads) {
  try {
    // All at once: a stack that was given back would be used again.
    std::mutex held;
    std::vector<std::jthread> started;
    const std::lock_guard lock(held);  // let go before they are joined
    for (int i = 0; i < threads; ++i) {
      started.emplace_back([&] { const std::lock_guard wait(held); });
    }
  } catch (const std::system_error& error) {
    user_error(
        "starting {} threads: {}; allow the process more memory or more "
        "threads",
        threads, error.code().message());
  }
}

}  // namespace

void set_num_threads(int threads) {
  if (threads < 1) {
    user_error("setting threads: found {}, expected 1 or more", threads);
  }
  require_threads(threads);
  at::set_num_threads(threads);
  if (at::get_num_interop_threads() != 1) at::set_num_interop_threads(1);
}

int num_threads() { return at::get_num_threads(); }

int threads_in_use() {
  std::mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, num_threads(), 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  return static_cast<int>(seen.size());
}

}  // namespace annuli::kernels
