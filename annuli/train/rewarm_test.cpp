// The rate that rises once more for what growth added alone.

#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "annuli/data/test_files.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/registry.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using test::same_bits;

class RewarmOfNew : public data::DataTest {
 protected:
  static constexpr int64_t kSteps = 4;

  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  // The weights after the first step, which `of` says the rate of.
  Transformer step_of(const Transformer& model, OptimizerType type, RewarmOf of,
                      const FrozenEntries& old) const {
    Transformer stepped = tiny::clone(model);
    Optimizer optimizer({.type = type}, model.table().size());
    data::Loader windows(*file_, {{0, 2000}}, 12, 1, "t");
    TrainPlan train{.learning_rate = 1e-2, .batch_size = 2};
    if (of == RewarmOf::kNew) {
      train.rewarm_steps = kSteps;
      train.rewarm_of = of;
    }
    Trainer trainer(stepped, optimizer, windows, train, 0.1, 7,
                    parallel::solo(), std::nullopt, Sharding::kNone, {}, {},
                    old);
    trainer.step(1);
    return stepped;
  }

  // Old entries are those of a step at the full rate, to the bit. The others go
  // the first of kSteps parts of the way: in fp64, to a few roundings of it.
  void expect_share(const GrowPlan& grow, const ModelConfig& parent,
                    OptimizerType type) const {
    const grow::Recipe recipe = grow::make_operator(grow)->recipe(parent, 5);
    const Transformer child =
        grow::grow(tiny::model(parent, at::kDouble), recipe);
    const auto old = FrozenEntries::of_parent(child.table(), recipe);
    const Transformer full = step_of(child, type, RewarmOf::kAll, old);
    const Transformer shared = step_of(child, type, RewarmOf::kNew, old);
    int64_t added = 0;
    for (size_t row = 0; row < child.table().size(); ++row) {
      SCOPED_TRACE(child.table()[row].name);
      const at::Tensor& before = child.weight(row);
      if (old.is_whole(row)) {
        EXPECT_TRUE(same_bits(full.weight(row), shared.weight(row)));
        continue;
      }
      ++added;
      at::Tensor expected =
          before + (full.weight(row) - before) / static_cast<double>(kSteps);
      old.put_back(row, old.copy_of(row, full.weight(row)), expected);
      EXPECT_TRUE(at::allclose(shared.weight(row), expected, 1e-13, 1e-15));
      const auto kept = old.copy_of(row, shared.weight(row));
      const auto wanted = old.copy_of(row, full.weight(row));
      for (size_t i = 0; i < kept.size(); ++i) {
        EXPECT_TRUE(same_bits(kept[i], wanted[i]));
      }
    }
    EXPECT_GT(added, 0);
  }

  std::optional<data::TokenFile> file_;
};

TEST_F(RewarmOfNew, OldEntriesGoAllTheWay) {
  GrowPlan widen;
  widen.widen = WidenPlan{.factor = 2};
  GrowPlan deepen;
  deepen.deepen = DeepenPlan{.add_layers = 1};
  GrowPlan upcycle;
  upcycle.upcycle = UpcyclePlan{.num_experts = 2, .num_experts_per_tok = 1};
  const ModelConfig parent = tiny::config({.gated = true});
  for (const OptimizerType type :
       {OptimizerType::kAdamw, OptimizerType::kSgd, OptimizerType::kMuon,
        OptimizerType::kAdafactor}) {
    for (const GrowPlan& grow : {widen, deepen, upcycle}) {
      SCOPED_TRACE(std::string(word_of(type)));
      expect_share(grow, parent, type);
    }
  }
}

}  // namespace
}  // namespace annuli::train
