#include "annuli/parallel/c10d_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <tuple>
#include <vector>

#include "annuli/parallel/peers.h"

namespace annuli::parallel {
namespace {

using test::Ended;
using test::Meet;
using test::meeting;
using test::Program;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A LostProcess of unknown status, as the peers exit with it.
constexpr int kLost = 42;

std::vector<Ended> run(Meet meet, int64_t size, const std::string& scenario) {
  auto peers = test::start_peers(meeting(meet, size), scenario);
  return test::wait_for(peers);
}

void expect_one_line(const std::string& text) {
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

class Group : public testing::TestWithParam<std::tuple<Meet, int64_t>> {
 protected:
  std::vector<Ended> run(const std::string& scenario) const {
    return parallel::run(std::get<0>(GetParam()), size(), scenario);
  }
  int64_t size() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(
    All, Group,
    testing::Combine(testing::Values(Meet::kFile, Meet::kPort),
                     testing::Values(2, 4)),
    [](const auto& info) {
      return fmt::format(
          "{}{}", std::get<0>(info.param) == Meet::kFile ? "File" : "Port",
          std::get<1>(info.param));
    });

TEST_P(Group, EachOperationOfEachType) {
  for (const char* scenario : {"operations", "begun_operations"}) {
    for (const Ended& peer : run(scenario)) {
      EXPECT_EQ(peer.status, 0) << peer.err;
      EXPECT_EQ(peer.err, "");
    }
  }
}

// While the others wait, and while what they have begun does.
TEST_P(Group, AKilledProcessIsNamed) {
  for (const char* scenario : {"killed", "killed_in_flight"}) {
    SCOPED_TRACE(scenario);
    const auto ended = run(scenario);
    EXPECT_EQ(ended.back().status, 128 + SIGKILL);
    for (int64_t rank = 0; rank + 1 < size(); ++rank) {
      const Ended& peer = ended[static_cast<size_t>(rank)];
      EXPECT_EQ(peer.status, kLost);
      expect_one_line(peer.err);
      EXPECT_THAT(
          peer.err,
          AllOf(HasSubstr(fmt::format("lost rank {} (process", size() - 1)),
                HasSubstr("at step 12 of phase moe, waiting in all_gather"),
                HasSubstr("the process is gone")));
      // Not one that has left because of it.
      for (int64_t other = 0; other + 1 < size(); ++other) {
        EXPECT_THAT(peer.err,
                    Not(HasSubstr(fmt::format("lost rank {}", other))));
      }
    }
  }
}

TEST_P(Group, AStoppedProcessIsNamed) {
  for (const char* scenario : {"stopped", "stopped_in_flight"}) {
    SCOPED_TRACE(scenario);
    auto peers =
        test::start_peers(meeting(std::get<0>(GetParam()), size()), scenario);
    const Program stopped = std::move(peers.back());
    peers.pop_back();
    for (const Ended& peer : test::wait_for(peers)) {
      EXPECT_EQ(peer.status, kLost);
      expect_one_line(peer.err);
      EXPECT_THAT(peer.err, AllOf(HasSubstr("the process is stopped"),
                                  HasSubstr("at step 12 of phase moe")));
    }
  }
}

TEST_P(Group, WhoFailsSaysWithWhat) {
  auto peers =
      test::start_peers(meeting(std::get<0>(GetParam()), size()), "failed");
  const Program failed = std::move(peers.back());  // does not end by itself
  peers.pop_back();
  for (const Ended& peer : test::wait_for(peers)) {
    EXPECT_EQ(peer.status, 40 + 7);
    expect_one_line(peer.err);
    EXPECT_THAT(peer.err,
                HasSubstr("it ended with status 7: the disk is full"));
  }
}

TEST_P(Group, WhoServesTheStoreFails) {
  const auto ended = run("first_failed");
  EXPECT_EQ(ended[0].status, 7);
  for (size_t rank = 1; rank < ended.size(); ++rank) {
    EXPECT_EQ(ended[rank].status, 40 + 7);
    expect_one_line(ended[rank].err);
    EXPECT_THAT(ended[rank].err,
                HasSubstr("it ended with status 7: the disk is full"));
  }
}

TEST_P(Group, WhoServesTheStoreIsKilled) {
  const auto ended = run("first_killed");
  for (size_t rank = 1; rank < ended.size(); ++rank) {
    EXPECT_EQ(ended[rank].status, kLost);
    expect_one_line(ended[rank].err);
    EXPECT_THAT(ended[rank].err, HasSubstr("rank 0 (process"));
  }
}

TEST_P(Group, WhoServesTheStoreIsStopped) {
  auto peers = test::start_peers(meeting(std::get<0>(GetParam()), size()),
                                 "first_stopped");
  const Program stopped = std::move(peers.front());
  peers.erase(peers.begin());
  for (const Ended& peer : test::wait_for(peers)) {
    EXPECT_EQ(peer.status, kLost);
    expect_one_line(peer.err);
    EXPECT_THAT(peer.err, HasSubstr("rank 0 (process"));
  }
}

TEST(GroupOf4, OtherCallsAreFoundBeforeAnythingIsSent) {
  const std::vector<std::tuple<const char*, const char*, const char*>> cases = {
      {"other_shape", "rank 0 is at operation 1, all_gather of Float [3, 2]",
       "rank 1 at operation 1, all_gather of Float [4, 2]"},
      {"other_type", "all_gather of Float [3]", "all_gather of Double [3]"},
      {"other_operation",
       "rank 0 is at operation 1, all_to_all of Float [4, 2]",
       "rank 1 at operation 1, barrier"},
  };
  for (const auto& [scenario, first, second] : cases) {
    for (const Ended& peer : run(Meet::kFile, 4, scenario)) {
      EXPECT_EQ(peer.status, 3) << scenario;
      EXPECT_THAT(peer.err, AllOf(HasSubstr(first), HasSubstr(second)));
    }
  }
}

TEST(GroupOf4, CountsWhatItSends) {
  for (const Ended& peer : run(Meet::kFile, 4, "count_bytes")) {
    EXPECT_EQ(peer.out,
              "barrier 0 gather 21 all_gather 360 all_to_all 30 "
              "exchange 56\n");
  }
}

TEST(GroupOf2, IsDeadAfterAnError) {
  const auto ended = run(Meet::kFile, 2, "throws_twice");
  EXPECT_EQ(ended[0].status, kLost);
  EXPECT_THAT(ended[0].err, HasSubstr("waiting in all_gather"));
}

}  // namespace
}  // namespace annuli::parallel
