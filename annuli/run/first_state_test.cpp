#include "annuli/run/first_state.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/optimizer_file.h"
#include "annuli/core/error.h"
#include "tests/cli/program.h"
#include "tests/support/tiny_model.h"

namespace annuli::run {
namespace {

using testing::HasSubstr;

// A folder with AdamW's moments, each row's counter and multipliers its own.
class FirstStateTest : public testing::Test {
 protected:
  FirstStateTest() : model_(tiny::model(tiny::config(), at::kFloat)) {
    plan_.model.from = folder().string();
    save_folder(model_, folder(),
                {{.op = "initialize", .child = content_hash(model_)}});
    write_moments([](const at::Tensor& weight) { return weight * 2; });
  }

  void write_moments(const std::function<at::Tensor(const at::Tensor&)>& m) {
    std::vector<NamedTensor> moments;
    OptimizerRows rows;
    for (const NamedTensor& weight : named_weights(model_)) {
      const auto row = static_cast<int64_t>(rows.size());
      rows[weight.name] = {.step = 5,
                           .lr_multiplier = 2.0 + row,
                           .eps_multiplier = 3.0 + row,
                           .weight_decay_multiplier = 4.0 + row,
                           .row_copies = 5 + row,
                           .column_copies = 6 + row};
      moments.push_back({"m." + weight.name, m(weight.tensor)});
      moments.push_back({"v." + weight.name, weight.tensor.square()});
    }
    write_safetensors(folder() / kOptimizerTensors, moments);
    write_optimizer_rows(folder(), rows, "adamw");
  }

  fs::path folder() const { return scratch_.path() / "parent"; }
  FirstState first() const { return first_state(plan_, 61, at::kCPU); }

  std::string refusal(int64_t tokens = 61) const {
    try {
      first_state(plan_, tokens, at::kCPU);
    } catch (const UserError& error) {
      return error.what();
    }
    return "taken";
  }

  test::ScratchFolder scratch_;
  Transformer model_;
  Plan plan_;
};

TEST_F(FirstStateTest, AFoldersModelGoesOnWithItsOptimizer) {
  for (const auto type : {OptimizerType::kAdamw, OptimizerType::kAdamw8bit}) {
    plan_.optimizer.type = type;
    const FirstState state = first();
    EXPECT_EQ(content_hash(state.model), content_hash(model_));
    ASSERT_EQ(state.optimizer.size(), model_.table().size());
    for (size_t row = 0; row < state.optimizer.size(); ++row) {
      const optim::TensorState& is = state.optimizer[row];
      EXPECT_EQ(is.step, 5);
      EXPECT_EQ(is.lr_multiplier, 2.0 + row);
      EXPECT_EQ(is.eps_multiplier, 3.0 + row);
      EXPECT_EQ(is.weight_decay_multiplier, 4.0 + row);
      EXPECT_EQ(is.row_copies, static_cast<int64_t>(5 + row));
      EXPECT_EQ(is.column_copies, static_cast<int64_t>(6 + row));
      EXPECT_TRUE(at::equal(is.m, model_.weight(row) * 2)) << row;
      EXPECT_TRUE(at::equal(is.v, model_.weight(row).square())) << row;
    }
  }
}

// What growth has made of the rates holds for any optimizer, its moments do
// not.
TEST_F(FirstStateTest, AnotherOptimizerBeginsAnew) {
  for (const auto type :
       {OptimizerType::kSgd, OptimizerType::kAdafactor, OptimizerType::kMuon}) {
    plan_.optimizer.type = type;
    const FirstState state = first();
    for (size_t row = 0; row < state.optimizer.size(); ++row) {
      const optim::TensorState& is = state.optimizer[row];
      EXPECT_EQ(is.step, 0);
      EXPECT_EQ(is.lr_multiplier, 2.0 + row);
      EXPECT_EQ(is.row_copies, static_cast<int64_t>(5 + row));
      EXPECT_FALSE(is.m.defined());
      EXPECT_FALSE(is.v.defined());
    }
  }
}

TEST_F(FirstStateTest, AMomentOfAnotherShapeIsRefused) {
  write_moments([](const at::Tensor& weight) { return weight.flatten(); });
  EXPECT_THAT(refusal(), HasSubstr("has shape [1464], expected [61, 24]"));
}

TEST_F(FirstStateTest, ATokenizerWithMoreTokensIsRefused) {
  EXPECT_EQ(refusal(61), "taken");
  EXPECT_THAT(refusal(62), HasSubstr("has 62 tokens, the model knows 61"));
}

// The lineage tells of a change of the type, and of nothing else.
TEST_F(FirstStateTest, AnotherPrecisionIsAStepOfTheLineage) {
  EXPECT_EQ(first().lineage.size(), 1u);
  plan_.precision = Precision::kBf16;
  const FirstState narrow = first();
  ASSERT_EQ(narrow.lineage.size(), 2u);
  EXPECT_EQ(narrow.lineage[1].op, "open");
  EXPECT_EQ(narrow.lineage[1].parent, content_hash(model_));
  EXPECT_EQ(narrow.lineage[1].child, content_hash(narrow.model));
  plan_.precision = Precision::kBf16Mixed;
  EXPECT_EQ(first().model.numbers().products, at::kBFloat16);
  EXPECT_EQ(first().lineage.size(), 1u);
}

}  // namespace
}  // namespace annuli::run
