#include "annuli/kernels/cpu/symmetric_product.h"

#include <ATen/ops/mm.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

// Rows of one product. Fewer rows compute less below the diagonal, and the
// library packs the other factor more often.
constexpr int64_t kPanelRows = 64;
// Rows and columns that are turned at a time: both fit the first cache.
constexpr int64_t kTurned = 32;

// Rows [row, end) of a square right of the diagonal, to the columns below it.
template <typename T>
ANNULI_INLINE void turn_panel(T* square, int64_t size, int64_t row,
                              int64_t end) {
  for (int64_t to = row; to < size; to += kTurned) {
    for (int64_t from = row; from < end; from += kTurned) {
      const int64_t last = std::min(to + kTurned, size);
      for (int64_t i = to; i < last; ++i) {
        const int64_t stop = std::min({from + kTurned, end, i});
        for (int64_t j = from; j < stop; ++j) {
          square[i * size + j] = square[j * size + i];
        }
      }
    }
  }
}

#define ANNULI_TURN(T)                                                 \
  ANNULI_VECTOR_CLONES void turn(T* square, int64_t size, int64_t row, \
                                 int64_t end) {                        \
    turn_panel(square, size, row, end);                                \
  }
ANNULI_TURN(float)
ANNULI_TURN(double)
#undef ANNULI_TURN

// Rows [row, end) from the diagonal on, and what mirrors them.
void make_panel(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                int64_t row, int64_t end) {
  const int64_t size = out.size(0);
  at::Tensor panel = out.narrow(0, row, end - row).narrow(1, row, size - row);
  at::mm_out(panel, a.narrow(0, row, end - row), b.narrow(1, row, size - row));
  if (out.scalar_type() == at::kDouble) {
    turn(out.mutable_data_ptr<double>(), size, row, end);
  } else {
    turn(out.mutable_data_ptr<float>(), size, row, end);
  }
}

}  // namespace

// The first panel is as much longer than the middle one as the last is shorter:
// such two are one task, which a thread does alone.
void cpu::multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                             const at::Tensor& b) {
  ANNULI_CHECK(
      out.scalar_type() == at::kFloat || out.scalar_type() == at::kDouble,
      "a product into {}", words_of(out));
  const int64_t size = out.size(0);
  const int64_t panels = (size + kPanelRows - 1) / kPanelRows;
  const auto make = [&](int64_t panel) {
    make_panel(out, a, b, panel * kPanelRows,
               std::min(size, (panel + 1) * kPanelRows));
  };
  parallel_blocks((panels + 1) / 2, 1, [&](int64_t task, int64_t) {
    make(task);
    if (panels - 1 - task != task) make(panels - 1 - task);
  });
}

}  // namespace annuli::kernels
