#include "annuli/train/evaluate.h"

#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/train/batch_tensors.h"
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

}  // namespace
}  // namespace annuli::train
