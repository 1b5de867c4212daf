#include "annuli/profile/recorder.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>

#include "annuli/core/error.h"

namespace annuli::profile {
namespace {

const Event* find(const Recording& recording, const std::string& name) {
  const auto found = std::ranges::find(recording.events, name, &Event::name);
  return found == recording.events.end() ? nullptr : &*found;
}

TEST(Recorder, SeesOperatorsInsideMarksWithTheirShapes) {
  const at::Tensor a = at::ones({3, 5});
  const at::Tensor b = at::ones({5, 7});
  Recorder recorder;
  {
    RECORD_USER_SCOPE("mark");
    at::mm(a, b);
  }
  const Recording recording = recorder.finish();
  const Event* mark = find(recording, "mark");
  const Event* product = find(recording, "aten::mm");
  ASSERT_NE(mark, nullptr);
  ASSERT_NE(product, nullptr);
  EXPECT_EQ(mark->kind, EventKind::kScope);
  EXPECT_EQ(product->kind, EventKind::kOperator);
  EXPECT_EQ(product->product,
            (ProductShape{.m = 3, .k = 5, .n = 7, .batch = 1}));
  EXPECT_EQ(product->dtype, "fp32");
  EXPECT_LE(mark->begin, product->begin);
  EXPECT_LE(product->end, mark->end);
}

TEST(Recorder, TakesMarkedProductsForProducts) {
  const at::Tensor a = at::ones({3, 5}, at::kBFloat16);
  const at::Tensor b = at::ones({5, 7}, at::kBFloat16);
  Recorder recorder;
  {
    RECORD_USER_SCOPE_WITH_INPUTS("product",
                                  (std::array<c10::IValue, 2>{a, b}));
  }
  const Recording recording = recorder.finish();
  ASSERT_EQ(recording.events.size(), 1u);
  EXPECT_EQ(recording.events[0].product,
            (ProductShape{.m = 3, .k = 5, .n = 7, .batch = 1}));
  EXPECT_EQ(recording.events[0].dtype, "bf16");
}

TEST(Recorder, NamesThreadsAndKnowsThemApart) {
  Recorder recorder;
  { RECORD_USER_SCOPE("here"); }
  std::thread other([] {
    ::pthread_setname_np(::pthread_self(), "reader");
    RECORD_USER_SCOPE("there");
  });
  other.join();
  const Recording recording = recorder.finish();
  ASSERT_EQ(recording.threads.size(), 2u);
  EXPECT_EQ(recording.threads[find(recording, "here")->thread], "main");
  EXPECT_EQ(recording.threads[find(recording, "there")->thread], "reader");
}

TEST(Recorder, SeesNothingAfterItsEnd) {
  Recorder recorder;
  { RECORD_USER_SCOPE("before"); }
  EXPECT_EQ(recorder.finish().events.size(), 1u);
  { RECORD_USER_SCOPE("between"); }
  Recorder next;
  { RECORD_USER_SCOPE("after"); }
  const Recording recording = next.finish();
  ASSERT_EQ(recording.events.size(), 1u);
  EXPECT_EQ(recording.events[0].name, "after");
}

TEST(Recorder, IsOneAtATime) {
  Recorder recorder;
  EXPECT_THROW(Recorder(), CheckFailure);
}

}  // namespace
}  // namespace annuli::profile
