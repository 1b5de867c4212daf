#include "annuli/kernels/threads.h"

#include <ATen/Parallel.h>

#include <mutex>
#include <set>
#include <thread>

#include "annuli/core/error.h"

namespace annuli::kernels {

void set_num_threads(int threads) {
  if (threads < 1) {
    user_error("setting threads: found {}, expected 1 or more", threads);
  }
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
