#include "annuli/core/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace annuli {
namespace {

TEST(Worker, DoesTasksInOrder) {
  std::vector<int> done;
  Worker worker;
  for (int i = 0; i < 100; ++i) worker.post([&done, i] { done.push_back(i); });
  worker.finish();
  ASSERT_EQ(done.size(), 100);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[i], i);
}

TEST(Worker, AFailureDropsWhatFollows) {
  bool later = false;
  Worker worker;
  worker.post([] { throw std::runtime_error("full"); });
  worker.post([&later] { later = true; });
  EXPECT_THROW(worker.finish(), std::runtime_error);
  EXPECT_THROW(worker.check(), std::runtime_error);
  EXPECT_FALSE(later);
}

TEST(BufferPool, WaitsForABufferToComeBack) {
  BufferPool pool(2, 16);
  EXPECT_EQ(pool.bytes(), 16);
  auto first = pool.take();
  auto second = pool.take();
  std::atomic<bool> got = false;
  std::jthread third([&] {
    pool.take();
    got = true;
  });
  EXPECT_FALSE(got);
  std::byte* released = first.get();
  first.reset();
  third.join();
  EXPECT_TRUE(got);
  EXPECT_EQ(pool.take().get(), released);
}

TEST(BufferPool, ABufferMayOutliveThePool) {
  std::shared_ptr<std::byte> buffer;
  {
    BufferPool pool(1, 16);
    buffer = pool.take();
  }
  *buffer = std::byte{7};
  EXPECT_EQ(*buffer, std::byte{7});
}

}  // namespace
}  // namespace annuli
