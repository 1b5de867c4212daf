#include "tests/support/thread_group.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "tests/support/tensor_checks.h"

namespace annuli::test {
namespace {

using parallel::LostProcess;
using parallel::ProcessGroup;

TEST(ThreadGroup, GathersInTheOrderOfTheProcesses) {
  run_together(3, [](ProcessGroup& group) {
    EXPECT_EQ(group.size(), 3);
    const std::string own(group.rank() + 1, 'x');
    EXPECT_EQ(group.gather(own), (std::vector<std::string>{"x", "xx", "xxx"}));
    EXPECT_EQ(group.bytes_sent(), 2 * 3);
    const at::Tensor all =
        group.all_gather(at::full({2}, group.rank(), at::kInt));
    EXPECT_TRUE(
        same_bits(all, at::arange(3, at::kInt).unsqueeze(1).expand({3, 2})));
    EXPECT_EQ(group.bytes_sent(), 6 + 2 * 8);
    group.barrier();
  });
}

TEST(ThreadGroup, GivesToEachWhatIsForIt) {
  run_together(3, [](ProcessGroup& group) {
    const at::Tensor rows = at::arange(3, at::kInt) + 10 * group.rank();
    const at::Tensor own = group.all_to_all(rows);
    EXPECT_TRUE(same_bits(own, 10 * at::arange(3, at::kInt) + group.rank()));
    EXPECT_EQ(group.bytes_sent(), 2 * 4);
  });
}

TEST(ThreadGroup, ExchangesPiecesOfAnyLength) {
  run_together(3, [](ProcessGroup& group) {
    std::vector<at::Tensor> to;
    for (int64_t rank = 0; rank < 3; ++rank) {
      to.push_back(at::full({rank + group.rank()}, group.rank(), at::kInt));
    }
    const std::vector<at::Tensor> come = group.exchange(to);
    for (int64_t rank = 0; rank < 3; ++rank) {
      EXPECT_TRUE(same_bits(come[rank],
                            at::full({rank + group.rank()}, rank, at::kInt)));
    }
    EXPECT_EQ(group.bytes_sent(),
              4 * (3 + 3 * group.rank() - 2 * group.rank()));
  });
}

TEST(ThreadGroup, DifferentCallsAreABugOnAll) {
  std::atomic<int> found = 0;
  run_together(2, [&](ProcessGroup& group) {
    const int64_t entries = group.rank() + 1;
    EXPECT_THROW(group.all_gather(at::full({entries}, 1, at::kInt)),
                 CheckFailure);
    ++found;
  });
  EXPECT_EQ(found, 2);
  EXPECT_THROW(run_together(2,
                            [](ProcessGroup& group) {
                              if (group.is_first()) group.barrier();
                              group.gather("text");
                            }),
               CheckFailure);
}

TEST(ThreadGroup, AThreadThatFailsEndsTheWaitOfTheOthers) {
  std::atomic<int> lost = 0;
  EXPECT_THROW(run_together(3,
                            [&](ProcessGroup& group) {
                              if (group.rank() == 1) user_error("no more");
                              try {
                                group.barrier();
                              } catch (const LostProcess& error) {
                                EXPECT_STREQ(error.what(), "rank 1: no more");
                                ++lost;
                              }
                            }),
               UserError);
  EXPECT_EQ(lost, 2);
}

}  // namespace
}  // namespace annuli::test
