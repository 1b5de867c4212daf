#include "annuli/grow/apply.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/cancelling_noise.h"
#include "annuli/grow/random_router.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli::grow {
namespace {

// Parent and child as matrices; a vector is a matrix of one row.
struct Layout {
  std::vector<Slice> rows;
  std::vector<Slice> cols;
  int64_t parent_cols;
  int64_t child_cols;
};

Layout layout_of(const TensorRecipe& recipe, const at::Tensor& parent) {
  ANNULI_CHECK(recipe.source == Source::kParent && parent.defined() &&
                   recipe.dimensions.size() == recipe.shape.size() &&
                   parent.dim() == static_cast<int64_t>(recipe.shape.size()) &&
                   (parent.dim() == 1 || parent.dim() == 2),
               "{}", recipe.child);
  for (int64_t i = 0; i < parent.dim(); ++i) {
    int64_t total = 0;
    for (const Slice& slice : recipe.dimensions[i].slices) {
      ANNULI_CHECK(slice.start >= 0 && slice.length > 0 &&
                       slice.start + slice.length <= parent.size(i),
                   "{} reads past the end of {}", recipe.child, recipe.parent);
      total += slice.length;
    }
    ANNULI_CHECK(total == recipe.shape[i], "{}", recipe.child);
  }
  const bool matrix = parent.dim() == 2;
  return {matrix ? recipe.dimensions[0].slices : std::vector<Slice>{{0, 1}},
          recipe.dimensions.back().slices, parent.sizes().back(),
          recipe.shape.back()};
}

// The parent on the CPU, in the arithmetic of the child's dtype.
at::Tensor readable(const at::Tensor& parent, at::ScalarType dtype) {
  return parent.detach()
      .to(at::kCPU, dtype == at::kDouble ? at::kDouble : at::kFloat)
      .contiguous();
}

template <typename Stored>
class Tiler {
 public:
  using T = Arithmetic<Stored>;

  Tiler(const Layout& layout, const at::Tensor& parent, at::Tensor& child,
        double scale)
      : layout_(layout),
        parent_(parent.const_data_ptr<T>()),
        child_(child.data_ptr<Stored>()),
        scale_(scale) {}

  void clean() const {
    for_each_row_slice([&](Slice rows, int64_t child_row) {
      int64_t child_col = 0;
      for (const Slice& cols : layout_.cols) {
        copy_block(rows, cols, child_row, child_col);
        child_col += cols.length;
      }
    });
  }

  void noisy(double snr_db, const CounterRng& rng) const {
    uint64_t number = 0;
    for_each_row_slice([&](Slice rows, int64_t child_row) {
      int64_t child_col = 0;
      for (size_t i = 0; i < layout_.cols.size(); i += 2) {
        const Slice cols = layout_.cols[i];
        if (i + 1 == layout_.cols.size()) {
          copy_block(rows, cols, child_row, child_col);
          break;
        }
        ANNULI_CHECK(cols == layout_.cols[i + 1], "a pair of unequal slices");
        fill_noisy_pair(pair(rows, cols, child_row, child_col), scale_, snr_db,
                        rng, number);
        number += (rows.length * cols.length + 3) / 4 * 4;
        child_col += 2 * cols.length;
      }
    });
  }

 private:
  template <typename Function>
  void for_each_row_slice(const Function& function) const {
    int64_t child_row = 0;
    for (const Slice& rows : layout_.rows) {
      function(rows, child_row);
      child_row += rows.length;
    }
  }

  const T* source(Slice rows, Slice cols) const {
    return parent_ + rows.start * layout_.parent_cols + cols.start;
  }
  Stored* target(int64_t row, int64_t col) const {
    return child_ + row * layout_.child_cols + col;
  }

  NoisyPair<Stored> pair(Slice rows, Slice cols, int64_t child_row,
                         int64_t child_col) const {
    return {source(rows, cols),
            target(child_row, child_col),
            target(child_row, child_col + cols.length),
            rows.length,
            cols.length,
            layout_.parent_cols,
            layout_.child_cols};
  }

  void copy_block(Slice rows, Slice cols, int64_t child_row,
                  int64_t child_col) const {
    const T* from = source(rows, cols);
    Stored* to = target(child_row, child_col);
    const int64_t grain = std::max<int64_t>(1, 16384 / cols.length);
    at::parallel_for(0, rows.length, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* in = from + row * layout_.parent_cols;
        Stored* out = to + row * layout_.child_cols;
        for (int64_t i = 0; i < cols.length; ++i) {
          out[i] = static_cast<Stored>(static_cast<double>(in[i]) * scale_);
        }
      }
    });
  }

  const Layout& layout_;
  const T* parent_;
  Stored* child_;
  double scale_;
};

at::Tensor from_parent(const TensorRecipe& recipe, const at::Tensor& parent,
                       double scale, at::ScalarType dtype,
                       const std::optional<Noise>& noise, uint64_t seed) {
  const Layout layout = layout_of(recipe, parent);
  const at::Tensor source = readable(parent, dtype);
  at::Tensor child = kernels::owned_empty(recipe.shape, dtype);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "grow", [&] {
    const Tiler<scalar_t> tiler(layout, source, child, scale);
    if (noise) {
      tiler.noisy(noise->snr_db, CounterRng(seed, noise->stream));
    } else {
      tiler.clean();
    }
  });
  return child;
}

}  // namespace

at::Tensor apply(const TensorRecipe& recipe, at::TensorList parents,
                 uint64_t seed, at::ScalarType dtype,
                 const at::Tensor& router_mean) {
  switch (recipe.source) {
    case Source::kParent:
      ANNULI_CHECK(parents.size() == 1, "{}", recipe.child);
      return from_parent(recipe, parents[0], recipe.scale, dtype, recipe.noise,
                         seed);
    case Source::kZero:
      return kernels::owned_zeros(recipe.shape, dtype);
    case Source::kRandomRouter:
      return random_router(recipe.shape, recipe.router_std, router_mean,
                           CounterRng(seed, "grow/router/" + recipe.child),
                           dtype);
  }
  ANNULI_CHECK(false, "source of {}", recipe.child);
  return {};
}

at::Tensor tile(const TensorRecipe& recipe, const at::Tensor& parent,
                double scale, at::ScalarType dtype) {
  return from_parent(recipe, parent, scale, dtype, std::nullopt, 0);
}

}  // namespace annuli::grow
