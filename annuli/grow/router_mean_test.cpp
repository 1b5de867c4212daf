#include "annuli/grow/router_mean.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_svd.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/model/transformer.h"
#include "tests/support/model_folder.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

class RouterDirections : public ::testing::Test {
 protected:
  RouterDirections()
      : model_(tiny::model(tiny::config({.gated = true}), at::kFloat)),
        tokens_(tiny::tokens(4, 64, model_.config().vocab_size)) {
    tiny::save_as(model_, folder_.path() / "model", at::kFloat);
    const ModelFile file(folder_.path() / "model");
    directions_ = router_directions(file, tokens_);
  }

  // What the first layer's feed-forward reads, [N, D] fp64.
  at::Tensor first_inputs() const {
    LayerTrace trace;
    model_.block(model_.embed(tokens_), 0, {}, &trace);
    return trace.ffn_input.to(at::kDouble);
  }

  test::TestFolder folder_;
  Transformer model_;
  at::Tensor tokens_;
  std::vector<at::Tensor> directions_;
};

TEST_F(RouterDirections, AreOrthonormalAndBeginWithTheMean) {
  ASSERT_EQ(directions_.size(), model_.config().num_hidden_layers);
  for (const at::Tensor& d : directions_) {
    ASSERT_EQ(d.size(0), 5);
    EXPECT_LT(largest(d.matmul(d.t()) - at::eye(5, at::kDouble)), 1e-12);
  }
  const at::Tensor mean = first_inputs().mean(0);
  EXPECT_NEAR(std::abs(directions_[0][0].dot(mean).item<double>()),
              mean.norm().item<double>(), 1e-9 * mean.norm().item<double>());
}

// Along them inputs vary more than along any other direction.
TEST_F(RouterDirections, TakeTheMostVarianceOut) {
  const at::Tensor x = first_inputs();
  const at::Tensor about = x - x.mean(0);
  const at::Tensor& d = directions_[0];
  const at::Tensor rest = about - about.matmul(d.t()).matmul(d);
  const auto values = std::get<1>(at::linalg_svd(about));
  const double kept = std::pow(rest.norm().item<double>(), 2);
  const double beyond_four =
      values.narrow(0, 4, values.size(0) - 4).square().sum().item<double>();
  // The mean takes one more direction out, and the iteration is not exact.
  EXPECT_LT(kept, 1.01 * beyond_four);
}

TEST_F(RouterDirections, ARoutersRowsAreOrthogonalToAllOfThem) {
  const int64_t D = model_.config().hidden_size;
  const at::Tensor router = random_router({8, D}, 0.02, directions_[0],
                                          CounterRng(1, "router"), at::kDouble);
  EXPECT_LT(largest(router.matmul(directions_[0].t())), 1e-15);
  const at::Tensor as_drawn =
      random_router({8, D}, 0.02, {}, CounterRng(1, "router"), at::kDouble);
  EXPECT_GT(largest(as_drawn.matmul(directions_[0].t())), 1e-3);
}

}  // namespace
}  // namespace annuli::grow
