#include "annuli/profile/kernel_table.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

namespace annuli::profile {
namespace {

constexpr int64_t kMs = 1'000'000;

Event event(const std::string& name, int64_t begin_ms, int64_t end_ms,
            int thread = 0) {
  return {.name = name,
          .begin = begin_ms * kMs,
          .end = end_ms * kMs,
          .thread = thread};
}

Event product(int64_t m, int64_t begin_ms, int64_t end_ms) {
  Event one = event("aten::mm", begin_ms, end_ms);
  one.kind = EventKind::kOperator;
  one.dtype = "fp32";
  one.product = {.m = m, .k = 8, .n = 16, .batch = 1};
  return one;
}

const KernelRow* find(const std::vector<KernelRow>& rows,
                      const std::string& name) {
  for (const KernelRow& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

// Two steps of 100 ms: 60 of them forward, in which a norm of 30 calls a copy
// of 10; the second step has no copy.
Recording two_steps() {
  Recording recording;
  recording.threads = {"main"};
  for (int64_t start : {0, 200}) {
    if (start == 0) {
      recording.events.push_back(event("copy", start + 20, start + 30));
    }
    recording.events.push_back(event("norm", start + 10, start + 40));
    recording.events.push_back(event("forward", start + 5, start + 65));
    recording.events.push_back(event("step", start, start + 100));
  }
  return recording;
}

TEST(KernelTable, CountsEachMillisecondOnce) {
  const KernelTable table = kernel_table(two_steps());
  EXPECT_EQ(table.steps, 2);
  EXPECT_DOUBLE_EQ(table.milliseconds, 100);
  const KernelRow* norm = find(table.rows, "norm");
  ASSERT_NE(norm, nullptr);
  EXPECT_DOUBLE_EQ(norm->milliseconds, 25);  // (20 + 30) / 2
  EXPECT_DOUBLE_EQ(norm->calls, 1);
  EXPECT_DOUBLE_EQ(find(table.rows, "copy")->milliseconds, 5);
  EXPECT_DOUBLE_EQ(find(table.rows, "copy")->calls, 0.5);
  EXPECT_DOUBLE_EQ(find(table.frames, "forward")->milliseconds, 30);
  EXPECT_DOUBLE_EQ(find(table.frames, "step")->milliseconds, 40);
  EXPECT_DOUBLE_EQ(table.unaccounted.milliseconds, 70);
  double sum = table.unaccounted.milliseconds;
  for (const KernelRow& row : table.rows) sum += row.milliseconds;
  EXPECT_DOUBLE_EQ(sum, table.milliseconds);
}

TEST(KernelTable, PutsTheRowsOfExpertsTogetherAndKeepsFewShapesApart) {
  Recording recording;
  recording.threads = {"main"};
  for (int64_t i = 0; i < 5; ++i) {
    recording.events.push_back(product(100 + i, 10 * i, 10 * i + 10));
  }
  Event other = product(64, 50, 60);
  other.dtype = "bf16";
  recording.events.push_back(other);
  recording.events.push_back(event("step", 0, 100));
  const KernelTable table = kernel_table(recording);
  const KernelRow* experts = find(table.rows, "gemm fp32 [n, 8] x [8, 16]");
  ASSERT_NE(experts, nullptr);
  EXPECT_DOUBLE_EQ(experts->calls, 5);
  EXPECT_DOUBLE_EQ(experts->milliseconds, 50);
  // 2 (100 + ... + 104) 8 16 operations in 50 ms
  EXPECT_DOUBLE_EQ(experts->gflops, 2.0 * 510 * 8 * 16 / 50e6);
  EXPECT_NE(find(table.rows, "gemm bf16 [64, 8] x [8, 16]"), nullptr);
}

TEST(KernelTable, ListsOtherThreadsApartAndNotWhatIsBetweenSteps) {
  Recording recording = two_steps();
  recording.threads.push_back("reader");
  recording.events.push_back(event("read", 20, 60, 1));
  recording.events.push_back(event("evaluate", 120, 180));
  const KernelTable table = kernel_table(recording);
  EXPECT_EQ(find(table.rows, "read"), nullptr);
  ASSERT_EQ(table.elsewhere.size(), 1u);
  EXPECT_EQ(table.elsewhere[0].name, "read");
  EXPECT_DOUBLE_EQ(table.unaccounted.milliseconds, 70);
}

TEST(KernelTable, NamesOwnBackwardFunctionsShortAndCountsThemOnce) {
  Recording recording = two_steps();
  const std::string name =
      "torch::autograd::CppNode<annuli::kernels::(anonymous namespace)::Norm>";
  Event node = event(name, 70, 80);
  Event engine = event("autograd::engine::evaluate_function: " + name, 70, 82);
  node.kind = engine.kind = EventKind::kBackwardNode;
  recording.events.push_back(node);
  recording.events.push_back(engine);
  const KernelTable table = kernel_table(recording);
  const KernelRow* row = find(table.rows, "Norm backward");
  ASSERT_NE(row, nullptr);
  EXPECT_DOUBLE_EQ(row->calls, 0.5);
  EXPECT_DOUBLE_EQ(row->milliseconds, 6);
}

TEST(KernelTable, SaysThatNothingWasRecorded) {
  EXPECT_EQ(to_text(kernel_table({})), "  no step was recorded\n");
}

TEST(KernelTable, ShowsSmallRowsAsOneAndTheUnaccountedAlways) {
  const std::string text = to_text(kernel_table(two_steps()), 0.1);
  EXPECT_NE(text.find("1 others"), std::string::npos) << text;
  EXPECT_EQ(text.find("copy"), std::string::npos) << text;
  EXPECT_NE(text.find("unaccounted"), std::string::npos) << text;
}

}  // namespace
}  // namespace annuli::profile
