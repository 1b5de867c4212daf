#include "annuli/train/evaluate.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/model/weight_parts.h"
#include "annuli/train/batch_tensors.h"
#include "tests/support/pass_count.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using EvaluateTest = data::DataTest;

double loss_of(const Transformer& model, const data::Batch& windows) {
  return model.loss(tokens_of(windows, at::kCPU), targets_of(windows, at::kCPU))
      .cross_entropy.item<double>();
}

TEST_F(EvaluateTest, IsTheMeanOverTheWindows) {
  const data::TokenFile file(write_random(400, 61));
  const data::Loader loader(file, {{0, 400}}, 12, 1, "t");
  const data::Batch windows = loader.fixed_windows(5);
  const Transformer model = tiny::model(tiny::config(), at::kDouble);
  double sum = 0;
  for (int64_t i = 0; i < 5; ++i) sum += loss_of(model, windows.rows(i, 1));
  EXPECT_EQ(evaluate(model, windows), sum / 5);
  EXPECT_NE(loss_of(model, windows.rows(0, 1)),
            loss_of(model, windows.rows(4, 1)));
  // One batch of all of them is the same mean, summed in another order.
  EXPECT_NEAR(evaluate(model, windows), loss_of(model, windows), 1e-13);
  EXPECT_THROW(evaluate(model, data::Batch()), CheckFailure);
}

// Five windows are no multiple of the processes: those with fewer pass one
// token more where the weights are held in parts.
TEST_F(EvaluateTest, ProcessesDivideTheWindowsAndGetTheMeanOfOne) {
  const data::TokenFile file(write_random(400, 61));
  const data::Batch windows =
      data::Loader(file, {{0, 400}}, 12, 1, "t").fixed_windows(5);
  const Transformer model =
      tiny::model(tiny::config({.mixture = true}), at::kFloat);
  double alone = 0;
  test::run_together(1, [&](parallel::ProcessGroup& group) {
    alone = evaluate(model, windows, group);
  });
  for (const int64_t processes : {2, 4}) {
    for (const bool in_parts : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", processes, in_parts));
      std::vector<int64_t> passes(processes);
      test::run_together(processes, [&](parallel::ProcessGroup& group) {
        Transformer own = tiny::clone(model);
        if (in_parts) hold_in_parts(own, group);
        const test::PassCount count;
        EXPECT_EQ(evaluate(own, windows, group), alone);
        passes[group.rank()] = count.passes();
      });
      const int64_t most = (5 + processes - 1) / processes;
      EXPECT_EQ(std::ranges::max(passes), most);
      EXPECT_EQ(std::accumulate(passes.begin(), passes.end(), int64_t{0}),
                in_parts ? most * processes : 5);
    }
  }
}

}  // namespace
}  // namespace annuli::train
