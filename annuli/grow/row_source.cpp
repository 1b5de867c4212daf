#include "annuli/grow/row_source.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/cancelling_noise.h"
#include "annuli/grow/drop_units.h"
#include "annuli/grow/parent_block.h"
#include "annuli/grow/random_router.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/normal_fill.h"
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
      const bool inside =
          slice.is_new() ||
          (slice.start >= 0 && slice.start + slice.length <= parent[i]);
      ANNULI_CHECK(slice.length > 0 && inside, "{} reads past the end of {}",
                   recipe.child, recipe.parent);
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

// Entries that no parent has. Normal ones are numbered by their place in the
// child, every row from a multiple of 4 on.
class NewEntries {
 public:
  NewEntries(const TensorRecipe& recipe, uint64_t seed)
      : fill_(recipe.fill),
        value_(recipe.fill == Fill::kOne      ? recipe.scale
               : recipe.fill == Fill::kNormal ? recipe.fill_std
                                              : 0),
        width_((recipe.shape.back() + 3) / 4 * 4),
        rng_(seed, recipe.stream) {}

  template <typename Stored>
  void write(int64_t row, int64_t col, int64_t count, Stored* out) const {
    if (fill_ != Fill::kNormal) {
      std::fill_n(out, count, static_cast<Stored>(value_));
      return;
    }
    const int64_t before = col % 4;
    std::vector<float> numbers(before + count);
    kernels::normal_numbers(rng_, row * width_ + col - before, numbers);
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<Stored>(value_ *
                                   static_cast<double>(numbers[before + i]));
    }
  }

 private:
  Fill fill_;
  double value_;
  int64_t width_;
  CounterRng rng_;
};

template <typename Stored>
class FromParent : public RowMaker::Source {
 public:
  FromParent(const TensorRecipe& recipe, const std::vector<at::Tensor>& parents,
             uint64_t seed)
      : layout_(layout_of(recipe, parents[0].sizes())),
        pairs_(recipe.noise ? noise_pairs(layout_.cols) : Pairs{}),
        scale_(recipe.scale),
        new_entries_(recipe, seed) {
    std::vector<at::Tensor> matrices;
    for (const at::Tensor& parent : parents) {
      matrices.push_back(parent.dim() == 1 ? parent.unsqueeze(0) : parent);
    }
    std::vector<int64_t> starts = {0};  // of the columns' slices in the child
    for (const Slice& cols : layout_.cols) {
      starts.push_back(starts.back() + cols.length);
    }
    uint64_t number = 0;
    int64_t row = 0;
    for (const Slice& rows : layout_.rows) {
      pieces_.push_back({row, rows.length, {}});
      if (recipe.noise && !rows.is_new()) {
        add_pairs(recipe, matrices, rows, starts, seed, number);
      }
      add_columns(matrices, rows, starts);
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
        make_column(column, piece.child_row, first, last, out);
      }
    }
  }

 private:
  using Pairs = std::vector<std::pair<size_t, size_t>>;

  // A slice of the columns: new, copied, or one of a pair of equal ones with
  // noise between them.
  struct Column {
    int64_t child_col;
    int64_t cols;
    std::optional<ParentBlock> block;  // absent: new
    std::optional<NoisyBlock<Stored>> noise;
    int64_t second_col = 0;  // of the other copy
  };
  struct Piece {
    int64_t child_row;
    int64_t rows;
    std::vector<Column> columns;
  };

  void add_pairs(const TensorRecipe& recipe,
                 const std::vector<at::Tensor>& parents, Slice rows,
                 const std::vector<int64_t>& starts, uint64_t seed,
                 uint64_t& number) {
    for (const auto& [i, j] : pairs_) {
      const Slice cols = layout_.cols[i];
      Column column{starts[i], cols.length, ParentBlock(parents, rows, cols),
                    std::nullopt, starts[j]};
      column.noise.emplace(*column.block, scale_, recipe.noise->snr_db,
                           CounterRng(seed, recipe.noise->stream), number);
      number += (rows.length * cols.length + 3) / 4 * 4;
      pieces_.back().columns.push_back(std::move(column));
    }
  }

  void add_columns(const std::vector<at::Tensor>& parents, Slice rows,
                   const std::vector<int64_t>& starts) {
    std::vector<bool> paired(layout_.cols.size());
    if (!rows.is_new()) {
      for (const auto& [i, j] : pairs_) paired[i] = paired[j] = true;
    }
    for (size_t i = 0; i < layout_.cols.size(); ++i) {
      if (paired[i]) continue;
      const Slice cols = layout_.cols[i];
      Column column{starts[i], cols.length, std::nullopt, std::nullopt};
      if (!rows.is_new() && !cols.is_new()) {
        column.block.emplace(parents, rows, cols);
      }
      pieces_.back().columns.push_back(std::move(column));
    }
  }

  // Rows [first, last) of the child; `out` is where the first one begins.
  void make_column(const Column& column, int64_t piece_row, int64_t first,
                   int64_t last, Stored* out) const {
    const int64_t stride = layout_.child_cols;
    Stored* to = out + column.child_col;
    if (column.noise) {
      column.noise->write(first - piece_row, last - piece_row, to,
                          out + column.second_col, stride);
      return;
    }
    const int64_t block = std::max<int64_t>(1, kGrain / column.cols);
    if (!column.block) {
      kernels::parallel_blocks(last - first, block, [&](int64_t a, int64_t b) {
        for (int64_t row = a; row < b; ++row) {
          new_entries_.write(first + row, column.child_col, column.cols,
                             to + row * stride);
        }
      });
      return;
    }
    const at::Tensor read = column.block->read(
        first - piece_row, last - piece_row, kArithmetic<Stored>);
    const auto* in = read.const_data_ptr<Arithmetic<Stored>>();
    kernels::parallel_blocks(last - first, block, [&](int64_t a, int64_t b) {
      for (int64_t row = a; row < b; ++row) {
        copy_row(in + row * read.stride(0), column.cols, scale_,
                 to + row * stride);
      }
    });
  }

  Layout layout_;
  Pairs pairs_;
  double scale_;
  NewEntries new_entries_;
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

// Small enough to be held, or in need of a look at the whole.
class Held : public RowMaker::Source {
 public:
  explicit Held(at::Tensor rows) : rows_(std::move(rows)) {}
  void make(int64_t begin, int64_t end, void* target) const override {
    const auto row_bytes =
        static_cast<int64_t>(rows_.itemsize()) * rows_.sizes().back();
    std::memcpy(
        target,
        static_cast<const char*>(rows_.const_data_ptr()) + begin * row_bytes,
        static_cast<size_t>((end - begin) * row_bytes));
  }

 private:
  at::Tensor rows_;
};

using SourcePtr = std::unique_ptr<const RowMaker::Source>;

SourcePtr from_parents(const TensorRecipe& recipe, at::TensorList parents,
                       uint64_t seed, at::ScalarType dtype) {
  ANNULI_CHECK(parents.size() == recipe.models.size(), "{}", recipe.child);
  for (const at::Tensor& parent : parents) {
    ANNULI_CHECK(parent.defined() && parent.sizes() == parents[0].sizes(), "{}",
                 recipe.child);
  }
  SourcePtr source;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "grow", [&] {
    source =
        std::make_unique<FromParent<scalar_t>>(recipe, parents.vec(), seed);
  });
  return source;
}

SourcePtr with_drop(TensorRecipe recipe, at::TensorList parents, uint64_t seed,
                    at::ScalarType dtype) {
  const Drop drop = *std::exchange(recipe.drop, std::nullopt);
  at::Tensor child = apply(recipe, parents, seed, dtype);
  drop_units(child, drop, seed, recipe.stream);
  return std::make_unique<Held>(child);
}

// All steps but the last are made whole: what stands between two steps is one
// tensor, no larger than the child's.
SourcePtr from_steps(const std::vector<TensorRecipe>& steps,
                     at::TensorList parents, uint64_t seed,
                     at::ScalarType dtype, const at::Tensor& router_mean) {
  at::Tensor made = apply(steps.front(), parents, seed, dtype, router_mean);
  for (size_t i = 1; i + 1 < steps.size(); ++i) {
    made = apply(steps[i], made, seed, dtype, router_mean);
  }
  return make_source(steps.back(), made, seed, dtype, router_mean);
}

}  // namespace

std::unique_ptr<const RowMaker::Source> held_source(const at::Tensor& made) {
  ANNULI_CHECK(kernels::is_plain(made));
  return std::make_unique<Held>(made);
}

std::unique_ptr<const RowMaker::Source> make_source(
    const TensorRecipe& recipe, at::TensorList parents, uint64_t seed,
    at::ScalarType dtype, const at::Tensor& router_mean) {
  if (!recipe.steps.empty()) {
    return from_steps(recipe.steps, parents, seed, dtype, router_mean);
  }
  switch (recipe.source) {
    case Source::kParent:
      return recipe.drop ? with_drop(recipe, parents, seed, dtype)
                         : from_parents(recipe, parents, seed, dtype);
    case Source::kZero:
      return std::make_unique<Zeros>(
          recipe.shape.back() * static_cast<int64_t>(c10::elementSize(dtype)));
    case Source::kRandomRouter:
      ANNULI_CHECK(router_mean.defined() || !recipe.needs_mean,
                   "{} without a mean activation", recipe.child);
      return std::make_unique<Held>(
          random_router(recipe.shape, recipe.router_std, router_mean,
                        CounterRng(seed, recipe.stream), dtype));
  }
  ANNULI_CHECK(false, "source of {}", recipe.child);
  return {};
}

}  // namespace annuli::grow
