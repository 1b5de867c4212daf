// Processes that hold the parent in parts grow the child that one makes alone.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/model/weight_parts.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

std::vector<Recipe> recipes_of(const ModelConfig& config) {
  std::vector<Recipe> recipes = {
      Upcycle({}).recipe(config, 5),
      Widen({2, 10, WidenHead::kUntie}).recipe(config, 5),
      Deepen({DeepenPreset::kStack, 2}).recipe(config, 5),
      Deepen({.weights = LayerSource::kRandom}).recipe(config, 5)};
  if (config.tie_word_embeddings) {
    recipes.push_back(Untie({}).recipe(config, 5));
  }
  return recipes;
}

TEST(GrowInParts, GivesTheChildOfOneProcess) {
  for (const bool tied : {false, true}) {
    const ModelConfig config = tiny::config({.tied = tied});
    for (const Recipe& recipe : recipes_of(config)) {
      SCOPED_TRACE(recipe.op);
      const Transformer whole = grow(tiny::model(config, at::kFloat), recipe);
      for (const int64_t processes : {2, 4}) {
        test::run_together(processes, [&](parallel::ProcessGroup& group) {
          Transformer parent = tiny::model(config, at::kFloat);
          hold_in_parts(parent, group);
          const Transformer child = grow(std::move(parent), recipe);
          ASSERT_NE(child.parts(), nullptr);
          for (size_t row = 0; row < child.table().size(); ++row) {
            EXPECT_EQ(kernels::has_memory(child.weight(row)),
                      child.parts()->stays(row));
            EXPECT_TRUE(
                test::same_bits(child.read_weight(row), whole.weight(row)))
                << child.table()[row].name;
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace annuli::grow
