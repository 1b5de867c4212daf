#include "annuli/parallel/background_group.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "annuli/parallel/solo.h"

namespace annuli::parallel {
namespace {

using Calls = std::vector<std::string>;

// Alone; notes what is called.
class Noting final : public ProcessGroup {
 public:
  explicit Noting(Calls& calls) : calls_(calls) {}
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void work_at(std::string what) override { note("at " + what); }
  void barrier() override { note("barrier"); }
  std::vector<std::string> gather(std::string_view text) override {
    note("gather " + std::string(text));
    return solo().gather(text);
  }
  at::Tensor all_gather(const at::Tensor& part) override {
    note("all_gather");
    return solo().all_gather(part);
  }
  at::Tensor all_to_all(const at::Tensor& rows) override {
    note("all_to_all");
    return solo().all_to_all(rows);
  }
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    note("exchange");
    return solo().exchange(to);
  }
  void say_failed(int /*status*/, std::string_view text) noexcept override {
    note("failed " + std::string(text));
  }
  int64_t bytes_sent() const override { return std::ssize(calls_); }

 private:
  void note(const std::string& call) { calls_.push_back(call); }
  Calls& calls_;
};

// The first operation waits for what the caller does after it was begun.
TEST(BackgroundGroup, GoesOnBesideItsCallerInTheOrderOfTheCalls) {
  Calls calls;
  const auto group = in_background(std::make_unique<Noting>(calls));
  std::promise<void> caller_went_on;
  group->work_at("one");
  Begun first = group->begin([&](ProcessGroup& turn) {
    caller_went_on.get_future().wait();
    turn.gather("a");
  });
  group->work_at("two");
  Begun second = group->begin([](ProcessGroup& turn) { turn.gather("b"); });
  EXPECT_EQ(group->size(), 1);
  caller_went_on.set_value();
  group->barrier();  // after all of them
  EXPECT_EQ(calls,
            (Calls{"at one", "gather a", "at two", "gather b", "barrier"}));
  EXPECT_EQ(group->bytes_sent(), 5);
  first.wait();
  second.wait();
  second.wait();  // nothing is left to wait for
}

TEST(BackgroundGroup, WhoWaitsIsToldWhatWasThrown) {
  Calls calls;
  const auto group = in_background(std::make_unique<Noting>(calls));
  Begun fails = group->begin(
      [](ProcessGroup&) { throw std::runtime_error("the disk is full"); });
  Begun next = group->begin([](ProcessGroup& turn) { turn.barrier(); });
  EXPECT_THROW(fails.wait(), std::runtime_error);
  EXPECT_NO_THROW(next.wait());
  {
    const Begun nobody_waits =
        group->begin([](ProcessGroup&) { throw std::runtime_error("no"); });
  }
  group->say_failed(2, "x");
  EXPECT_EQ(calls, (Calls{"barrier", "failed x"}));
}

// What operations refer to may go when what was begun goes.
TEST(BackgroundGroup, WhatIsDestroyedHasBeenDone) {
  Calls calls;
  const auto group = in_background(std::make_unique<Noting>(calls));
  for (int i = 0; i < 100; ++i) {
    int done = 0;
    auto held = std::make_shared<int>(i);
    const std::weak_ptr<int> watched = held;
    {
      Begun begun = group->begin(
          [&done, given = std::move(held)](ProcessGroup&) { ++done; });
      begun = Begun();
    }
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(watched.expired());
  }
}

TEST(BackgroundGroup, UsesOneCoreAndLeavesTheCallersThreads) {
  Calls calls;
  const int before = at::get_num_threads();
  const auto group = in_background(std::make_unique<Noting>(calls));
  int inside = 0;
  group->begin([&](ProcessGroup&) { inside = at::get_num_threads(); }).wait();
  EXPECT_EQ(inside, 1);
  EXPECT_EQ(at::get_num_threads(), before);
}

// A group that can't go on beside its caller does it at once.
TEST(Begun, IsDoneAtOnceByOtherGroups) {
  int done = 0;
  Begun begun = solo().begin([&](ProcessGroup& group) {
    EXPECT_EQ(&group, &solo());
    ++done;
  });
  EXPECT_EQ(done, 1);
  begun.wait();
  Begun fails =
      solo().begin([](ProcessGroup&) { throw std::runtime_error("no"); });
  EXPECT_THROW(fails.wait(), std::runtime_error);
  Begun().wait();
}

}  // namespace
}  // namespace annuli::parallel
