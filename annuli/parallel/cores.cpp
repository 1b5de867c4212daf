#include "annuli/parallel/cores.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <thread>

#include "annuli/core/error.h"

namespace annuli::parallel {

std::vector<int> allowed_cores() {
  constexpr int kMost = 1 << 16;
  // The kernel refuses a set that is smaller than its own.
  for (int count = 1024; count <= kMost; count *= 2) {
    const auto free = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(free)> set(CPU_ALLOC(count),
                                                         free);
    const size_t size = CPU_ALLOC_SIZE(count);
    if (::sched_getaffinity(0, size, set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<int> cores;
    for (int core = 0; core < count; ++core) {
      if (CPU_ISSET_S(core, size, set.get())) cores.push_back(core);
    }
    return cores;
  }
  std::vector<int> all(std::max(1U, std::thread::hardware_concurrency()));
  for (size_t core = 0; core < all.size(); ++core) {
    all[core] = static_cast<int>(core);
  }
  return all;
}

std::vector<std::vector<int>> divided(const std::vector<int>& cores,
                                      int64_t n) {
  std::vector<std::vector<int>> shares(n);
  const int64_t each = static_cast<int64_t>(cores.size()) / n;
  for (int64_t i = 0; i < n; ++i) {
    const auto first = cores.begin() + i * each;
    shares[i].assign(first, first + each);
  }
  return shares;
}

int64_t default_threads(const LaunchEnvironment& environment) {
  const auto cores = static_cast<int64_t>(allowed_cores().size());
  const int64_t sharing =
      environment.cores_divided ? 1 : environment.local_size;
  return std::max<int64_t>(1, cores / sharing);
}

int64_t default_threads() {
  try {
    return default_threads(launch_environment());
  } catch (const UserError&) {
    return default_threads(LaunchEnvironment{});
  }
}

}  // namespace annuli::parallel
