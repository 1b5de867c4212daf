#include "annuli/model/weight_parts.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "annuli/kernels/memory/lent_memory.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_pass.h"
#include "tests/support/watched_group.h"

namespace annuli {
namespace {

using parallel::ProcessGroup;

// Weights of the layers that have memory here.
std::vector<size_t> rows_here(const Transformer& model) {
  std::vector<size_t> rows;
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.table()[row].layer >= 0 &&
        kernels::has_memory(model.weight(row))) {
      rows.push_back(row);
    }
  }
  return rows;
}

void expect_only_own(const Transformer& model) {
  for (const size_t row : rows_here(model)) {
    EXPECT_TRUE(model.parts()->is_own(row) || model.parts()->is_with_all(row))
        << model.table()[row].name;
  }
}

class PartedFlavour : public testing::TestWithParam<tiny::Flavour> {};

TEST_P(PartedFlavour, GivesTheBitsOfAWholeModel) {
  const ModelConfig config = tiny::config(GetParam());
  for (const bool checkpointing : {false, true}) {
    const LossOptions options{.router_aux_loss_coef = 0.1,
                              .router_z_loss_coef = 0.01,
                              .gradient_checkpointing = checkpointing};
    Transformer whole = tiny::model(config, at::kFloat);
    const tiny::Outcome expected = tiny::run(whole, options);
    test::run_together(2, [&](ProcessGroup& group) {
      Transformer model = tiny::model(config, at::kFloat);
      hold_in_parts(model, group);
      expect_only_own(model);
      const tiny::Outcome parted = tiny::run(model, options);
      expect_only_own(model);
      EXPECT_TRUE(at::equal(parted.loss.total, expected.loss.total));
      for (size_t row = 0; row < parted.gradients.size(); ++row) {
        const at::Tensor& gradient = parted.gradients[row];
        ASSERT_EQ(gradient.defined(), expected.gradients[row].defined());
        if (!gradient.defined()) continue;
        EXPECT_TRUE(at::equal(gradient, expected.gradients[row]))
            << model.table()[row].name;
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, PartedFlavour,
                         testing::ValuesIn(tiny::all_flavours()),
                         [](const auto& info) {
                           return tiny::name_of(info.param);
                         });

TEST(WeightParts, AreReadOnAllOrOnOne) {
  const ModelConfig config =
      tiny::config({.mixture = true, .selection_bias = true});
  const Transformer whole = tiny::model(config, at::kFloat);
  test::run_together(4, [&](ProcessGroup& group) {
    Transformer model = tiny::model(config, at::kFloat);
    hold_in_parts(model, group);
    const WeightParts& parts = *model.parts();
    const auto names =
        parts.of_owners([&](size_t row) { return whole.table()[row].name; });
    for (size_t row = 0; row < model.table().size(); ++row) {
      EXPECT_EQ(names[row], whole.table()[row].name);
      EXPECT_TRUE(at::equal(model.read_weight(row), whole.weight(row)));
      for (int64_t process = 0; process < 4; ++process) {
        const at::Tensor read = parts.read_at(process, model, row);
        ASSERT_EQ(read.defined(), process == group.rank());
        if (!read.defined()) continue;
        EXPECT_TRUE(at::equal(read, whole.weight(row)));
      }
    }
    expect_only_own(model);
    parts.gather(model);
    for (size_t row = 0; row < model.table().size(); ++row) {
      EXPECT_TRUE(at::equal(model.weight(row), whole.weight(row)));
    }
    parts.scatter(model);
    expect_only_own(model);
  });
}

// What the owners have changed of the rows outside the layers, all have.
TEST(WeightParts, OutsideTheLayersAreWhole) {
  const ModelConfig config = tiny::config({.tied = false});
  test::run_together(2, [&](ProcessGroup& group) {
    Transformer model = tiny::model(config, at::kFloat);
    hold_in_parts(model, group);
    for (size_t row = 0; row < model.table().size(); ++row) {
      if (model.parts()->is_own(row)) {
        model.weight(row).fill_(static_cast<double>(row));
      }
    }
    model.parts()->give_outside(model);
    for (size_t row = 0; row < model.table().size(); ++row) {
      if (model.table()[row].layer >= 0) continue;
      EXPECT_TRUE(
          model.weight(row).eq(static_cast<double>(row)).all().item<bool>())
          << model.table()[row].name;
    }
  });
}

// Layers of which weights of other processes are here.
std::set<int64_t> layers_here(const Transformer& model) {
  std::set<int64_t> layers;
  for (const size_t row : rows_here(model)) {
    if (!model.parts()->is_own(row)) layers.insert(model.table()[row].layer);
  }
  return layers;
}

// When a layer's weights are asked for, those of the layer before it are still
// in use, and no others are here; the last layer's are asked for once.
TEST(WeightParts, OfTheNextLayerComeWhileOneIsInUse) {
  ModelConfig config = tiny::config({.mixture = true});
  config.num_hidden_layers = 4;
  for (const bool checkpointing : {false, true}) {
    std::mutex mutex;
    std::vector<std::set<int64_t>> asked(7);  // of both processes
    test::run_together(2, [&](ProcessGroup& group) {
      Transformer model = tiny::model(config, at::kFloat);
      size_t number = 0;
      test::WatchedGroup watched(group, [&] {
        const std::lock_guard lock(mutex);
        asked.at(number++).merge(layers_here(model));
      });
      hold_in_parts(model, watched);
      tiny::run(model, {.gradient_checkpointing = checkpointing});
      EXPECT_EQ(number, asked.size());
    });
    EXPECT_EQ(asked, (std::vector<std::set<int64_t>>{
                         {0}, {0, 1}, {1, 2}, {2, 3}, {2, 3}, {1, 2}, {0, 1}}));
  }
}

// What a pass has asked for and not used is dropped when the next one begins.
TEST(WeightParts, OfAPassThatWasNotFinishedAreDropped) {
  const ModelConfig config = tiny::config({.mixture = true});
  const at::Tensor tokens = tiny::tokens(2, 9, config.vocab_size);
  test::run_together(2, [&](ProcessGroup& group) {
    Transformer model = tiny::model(config, at::kFloat);
    hold_in_parts(model, group);
    {
      const GradientScope scope(model);
      model.loss(tokens, tokens, {});  // its backward pass never comes
    }
    model.embed(tokens);
    expect_only_own(model);
  });
}

}  // namespace
}  // namespace annuli
