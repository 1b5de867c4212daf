#include "annuli/grow/parent_block.h"

#include "annuli/core/error.h"
#include "annuli/kernels/quantize/weight_codes.h"

namespace annuli::grow {

ParentBlock::ParentBlock(at::TensorList parents, Slice rows, Slice cols) {
  ANNULI_CHECK(!parents.empty(), "rows of no parent");
  whole_rows_ = parents[0].detach().narrow(0, rows.start, rows.length);
  first_column_ = cols.start;
  for (const at::Tensor& parent : parents) {
    views_.push_back(parent.detach()
                         .narrow(0, rows.start, rows.length)
                         .narrow(1, cols.start, cols.length));
  }
}

at::Tensor ParentBlock::read(int64_t begin, int64_t end,
                             at::ScalarType dtype) const {
  const auto rows_of = [&](const at::Tensor& view, at::ScalarType type) {
    return view.narrow(0, begin, end - begin).to(at::kCPU, type);
  };
  if (views_.size() == 1) {
    const at::Tensor rows = rows_of(views_[0], dtype);
    return rows.stride(1) == 1 ? rows : rows.contiguous();
  }
  at::Tensor sum = rows_of(views_[0], at::kDouble).contiguous().clone();
  for (size_t i = 1; i < views_.size(); ++i) {
    sum.add_(rows_of(views_[i], at::kDouble));
  }
  return sum.div_(static_cast<double>(views_.size())).to(dtype);
}

at::Tensor ParentBlock::read_steps(int64_t begin, int64_t end,
                                   at::ScalarType dtype) const {
  ANNULI_CHECK(views_.size() == 1, "codes of {} parents", views_.size());
  const at::Tensor rows = whole_rows_.narrow(0, begin, end - begin)
                              .to(at::kCPU, at::kFloat)
                              .contiguous();
  return kernels::code_steps(rows)
      .narrow(1, first_column_, cols())
      .to(dtype)
      .contiguous();
}

}  // namespace annuli::grow
