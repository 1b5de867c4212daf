#include "annuli/model/flat_rows.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

// However it is cut, the pieces are the rows laid end to end.
TEST(FlatRows, PiecesOfAnyStretch) {
  const TensorTable table = tensor_table(tiny::config({.mixture = true}));
  const std::vector<size_t> rows = {3, 1, 2};
  const FlatRows flat(table, rows);
  std::vector<at::Tensor> whole;
  for (const size_t row : rows) {
    whole.push_back(at::arange(table[row].numel(), at::kFloat) +
                    1000 * static_cast<double>(row));
  }
  const at::Tensor all = at::cat(whole);
  ASSERT_EQ(flat.entries(), all.numel());
  for (const int64_t bucket : {int64_t{7}, int64_t{100}, all.numel()}) {
    std::vector<at::Tensor> found;
    for (int64_t begin = 0; begin < all.numel(); begin += bucket) {
      int64_t at = 0;
      for (const Piece& piece : flat.pieces(begin, begin + bucket)) {
        EXPECT_EQ(piece.at, at);
        at += piece.count;
        const auto i = std::ranges::find(rows, piece.row) - rows.begin();
        found.push_back(piece.of(whole[i]));
      }
    }
    EXPECT_TRUE(test::same_bits(at::cat(found), all)) << bucket;
  }
  EXPECT_TRUE(flat.pieces(all.numel(), all.numel() + 5).empty());
  EXPECT_TRUE(FlatRows(table, {}).pieces(0, 5).empty());
}

}  // namespace
}  // namespace annuli
