#include "annuli/grow/row_source.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/cancelling_noise.h"
#include "annuli/grow/parent_block.h"
#include "annuli/grow/random_router.h"
#include "annuli/kernels/parallel.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;  // elements per parallel task

// Parent and child as matrices; a vector is a matrix of one row.
struct Layout {
  std::vector<Slice> rows;
  std::vector<Slice> cols;
  int64_t child_cols;
};

Layout layout_of(const TensorRecipe& recipe, at::IntArrayRef parent) {
  ANNULI_CHECK(recipe.dimensions.size() == recipe.shape.size() &&
                   parent.size() == recipe.shape.size() &&
                   (parent.size() == 1 || parent.size() == 2),
               "{}", recipe.child);
  for (size_t i = 0; i < parent.size(); ++i) {
    int64_t total = 0;
    for (const Slice& slice : recipe.dimensions[i].slices) {
      ANNULI_CHECK(slice.start >= 0 && slice.length > 0 &&
                       slice.start + slice.length <= parent[i],
                   "{} reads past the end of {}", recipe.child, recipe.parent);
      total += slice.length;
    }
    ANNULI_CHECK(total == recipe.shape[i], "{}", recipe.child);
  }
  const bool matrix = parent.size() == 2;
  return {matrix ? recipe.dimensions[0].slices : std::vector<Slice>{{0, 1}},
          recipe.dimensions.back().slices, recipe.shape.back()};
}

// dtype of the arithmetic that makes a child stored as `Stored`.
template <typename Stored>
constexpr at::ScalarType kArithmetic =
    c10::CppTypeToScalarType<Arithmetic<Stored>>::value;

// One row: parent * scale, rounded once. A product of two fp32 numbers is exact
// in fp64, so where `scale` is such a number the fp32 product rounds the same.
template <typename Stored>
ANNULI_INLINE void scale_row(const Arithmetic<Stored>* __restrict in, int64_t n,
                             double scale, Stored* __restrict out) {
  using T = Arithmetic<Stored>;
  if (static_cast<double>(static_cast<T>(scale)) == scale) {
    const T factor = static_cast<T>(scale);
    for (int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<Stored>(in[i] * factor);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<Stored>(static_cast<double>(in[i]) * scale);
    }
  }
}

ANNULI_VECTOR_CLONES void copy_row(const float* in, int64_t n, double scale,
                                   float* out) {
  scale_row<float>(in, n, scale, out);
}
ANNULI_VECTOR_CLONES void copy_row(const double* in, int64_t n, double scale,
                                   double* out) {
  scale_row<double>(in, n, scale, out);
}
ANNULI_VECTOR_CLONES void copy_row(const float* in, int64_t n, double scale,
                                   c10::BFloat16* out) {
  scale_row<c10::BFloat16>(in, n, scale, out);
}
ANNULI_VECTOR_CLONES void copy_row(const float* in, int64_t n, double scale,
                                   c10::Half* out) {
  scale_row<c10::Half>(in, n, scale, out);
}

template <typename Stored>
class FromParent : public RowMaker::Source {
 public:
  FromParent(const TensorRecipe& recipe, const std::vector<at::Tensor>& parents,
             uint64_t seed)
      : layout_(layout_of(recipe, parents[0].sizes())), scale_(recipe.scale) {
    std::vector<at::Tensor> matrices;
    for (const at::Tensor& parent : parents) {
      matrices.push_back(parent.dim() == 1 ? parent.unsqueeze(0) : parent);
    }
    uint64_t number = 0;
    int64_t row = 0;
    for (const Slice& rows : layout_.rows) {
      pieces_.push_back({row, rows.length, {}});
      fill_piece(recipe, matrices, rows, seed, number);
      row += rows.length;
    }
  }

  void make(int64_t begin, int64_t end, void* target) const override {
    for (const Piece& piece : pieces_) {
      const int64_t first = std::max(begin, piece.child_row);
      const int64_t last = std::min(end, piece.child_row + piece.rows);
      if (first >= last) continue;
      Stored* out =
          static_cast<Stored*>(target) + (first - begin) * layout_.child_cols;
      for (const Column& column : piece.columns) {
        make_column(column, first - piece.child_row, last - piece.child_row,
                    out + column.child_col);
      }
    }
  }

 private:
  // A slice of the columns, or a pair of equal ones with noise between them.
  struct Column {
    int64_t child_col;
    ParentBlock block;
    std::optional<NoisyBlock<Stored>> noise;
  };
  struct Piece {
    int64_t child_row;
    int64_t rows;
    std::vector<Column> columns;
  };

  void fill_piece(const TensorRecipe& recipe,
                  const std::vector<at::Tensor>& parents, Slice rows,
                  uint64_t seed, uint64_t& number) {
    int64_t col = 0;
    for (size_t i = 0; i < layout_.cols.size(); ++i) {
      const Slice cols = layout_.cols[i];
      Column column{col, ParentBlock(parents, rows, cols), std::nullopt};
      col += cols.length;
      if (recipe.noise && i + 1 < layout_.cols.size()) {
        ANNULI_CHECK(cols == layout_.cols[++i], "a pair of unequal slices");
        column.noise.emplace(column.block, scale_, recipe.noise->snr_db,
                             CounterRng(seed, recipe.noise->stream), number);
        number += (rows.length * cols.length + 3) / 4 * 4;
        col += cols.length;
      }
      pieces_.back().columns.push_back(std::move(column));
    }
  }

  void make_column(const Column& column, int64_t first, int64_t last,
                   Stored* out) const {
    const int64_t cols = column.block.cols();
    const int64_t stride = layout_.child_cols;
    if (column.noise) {
      column.noise->write(first, last, out, out + cols, stride);
      return;
    }
    const at::Tensor read = column.block.read(first, last, kArithmetic<Stored>);
    const auto* in = read.const_data_ptr<Arithmetic<Stored>>();
    const int64_t block = std::max<int64_t>(1, kGrain / cols);
    kernels::parallel_blocks(last - first, block, [&](int64_t a, int64_t b) {
      for (int64_t row = a; row < b; ++row) {
        copy_row(in + row * read.stride(0), cols, scale_, out + row * stride);
      }
    });
  }

  Layout layout_;
  double scale_;
  std::vector<Piece> pieces_;
};

class Zeros : public RowMaker::Source {
 public:
  explicit Zeros(int64_t row_bytes) : row_bytes_(row_bytes) {}
  void make(int64_t begin, int64_t end, void* target) const override {
    std::memset(target, 0, static_cast<size_t>((end - begin) * row_bytes_));
  }

 private:
  int64_t row_bytes_;
};

// Small enough to be held.
class Held : public RowMaker::Source {
 public:
  explicit Held(at::Tensor rows) : rows_(std::move(rows)) {}
  void make(int64_t begin, int64_t end, void* target) const override {
    const auto row_bytes =
        static_cast<int64_t>(rows_.itemsize()) * rows_.size(1);
    std::memcpy(
        target,
        static_cast<const char*>(rows_.const_data_ptr()) + begin * row_bytes,
        static_cast<size_t>((end - begin) * row_bytes));
  }

 private:
  at::Tensor rows_;
};

}  // namespace

std::unique_ptr<const RowMaker::Source> make_source(
    const TensorRecipe& recipe, at::TensorList parents, uint64_t seed,
    at::ScalarType dtype, const at::Tensor& router_mean) {
  std::unique_ptr<const RowMaker::Source> source;
  switch (recipe.source) {
    case Source::kParent:
      ANNULI_CHECK(parents.size() == recipe.models.size(), "{}", recipe.child);
      for (const at::Tensor& parent : parents) {
        ANNULI_CHECK(parent.defined() && parent.sizes() == parents[0].sizes(),
                     "{}", recipe.child);
      }
      AT_DISPATCH_FLOATING_TYPES_AND2(
          at::kHalf, at::kBFloat16, dtype, "grow", [&] {
            source = std::make_unique<FromParent<scalar_t>>(
                recipe, parents.vec(), seed);
          });
      break;
    case Source::kZero:
      source = std::make_unique<Zeros>(
          recipe.shape.back() * static_cast<int64_t>(c10::elementSize(dtype)));
      break;
    case Source::kRandomRouter:
      source = std::make_unique<Held>(random_router(
          recipe.shape, recipe.router_std, router_mean,
          CounterRng(seed, "grow/router/" + recipe.child), dtype));
      break;
  }
  ANNULI_CHECK(source, "source of {}", recipe.child);
  return source;
}

}  // namespace annuli::grow
