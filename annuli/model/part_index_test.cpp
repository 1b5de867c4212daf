#include "annuli/model/part_index.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

constexpr int kParts = static_cast<int>(Part::kHead) + 3;

TEST(PartIndex, FindsWhatASearchFinds) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const ModelConfig config = tiny::config(flavour);
    const TensorTable table = tensor_table(config);
    const PartIndex index(table);
    for (int part = 0; part < kParts; ++part) {
      for (int64_t layer = -1; layer <= config.num_hidden_layers; ++layer) {
        for (int64_t e = kSharedExpert; e <= config.num_experts; ++e) {
          const auto which = static_cast<Part>(part);
          EXPECT_EQ(index.row(which, layer, e),
                    find_row(table, which, layer, e))
              << tiny::name_of(flavour) << " " << part << " " << layer << " "
              << e;
        }
      }
    }
  }
}

}  // namespace
}  // namespace annuli
