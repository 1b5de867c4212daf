#include "annuli/kernels/threads.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {
namespace {

TEST(Threads, OurLoopsUseTwo) {
  set_num_threads(2);
  EXPECT_EQ(num_threads(), 2);
  EXPECT_EQ(threads_in_use(), 2);
}

TEST(Threads, OneIsOne) {
  set_num_threads(1);
  EXPECT_EQ(num_threads(), 1);
  EXPECT_EQ(threads_in_use(), 1);
}

TEST(Threads, ZeroIsAUserError) { EXPECT_THROW(set_num_threads(0), UserError); }

TEST(ParallelBlocks, CutsTheSameForAnyThreadCount) {
  auto cut = [](int threads) {
    set_num_threads(threads);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> blocks;
    std::set<std::thread::id> ids;
    parallel_blocks(103, 10, [&](int64_t begin, int64_t end) {
      const std::lock_guard lock(mutex);
      blocks.emplace(begin, end);
      ids.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(ids.size(), static_cast<size_t>(threads));
    return blocks;
  };
  const auto one = cut(1);
  EXPECT_EQ(one.size(), 11);
  EXPECT_EQ(*one.rbegin(), std::make_pair(int64_t{100}, int64_t{103}));
  EXPECT_EQ(one, cut(2));
}

TEST(ParallelBlocks, NothingIsNoBlock) {
  parallel_blocks(0, 10, [](int64_t, int64_t) { FAIL(); });
}

// The dynamic linker must find the executable's answer before MKL's own.
TEST(MklDispatch, TheExecutableAnswersForTheProcessor) {
  auto* symbol = dlsym(RTLD_DEFAULT, "mkl_serv_intel_cpu_true");
  ASSERT_NE(symbol, nullptr);
  Dl_info executable{}, answer{};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&threads_in_use), &executable), 0);
  ASSERT_NE(dladdr(symbol, &answer), 0);
  EXPECT_EQ(answer.dli_fbase, executable.dli_fbase) << answer.dli_fname;
}

}  // namespace
}  // namespace annuli::kernels
