#include "annuli/grow/copied_rows.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/cancelling_noise.h"
#include "annuli/grow/parent_block.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;  // elements per parallel task

PlacedSlices placed(const std::vector<Slice>& slices) {
  PlacedSlices result{slices, {}};
  int64_t start = 0;
  for (const Slice& slice : slices) {
    result.starts.push_back(start);
    start += slice.length;
  }
  return result;
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
class CopiedRows : public RowSource {
 public:
  explicit CopiedRows(const RowContext& context) : scale_(context.line.scale) {
    const LineLayout layout = layout_of(context);
    const std::vector<at::Tensor> parents = parent_matrices(context);
    child_columns_ = layout.child_columns;
    for (size_t i = 0; i < layout.rows.slices.size(); ++i) {
      const Slice rows = layout.rows.slices[i];
      pieces_.push_back({layout.rows.starts[i], rows.length, {}});
      for (size_t j = 0; j < layout.columns.slices.size(); ++j) {
        const Slice columns = layout.columns.slices[j];
        Column column{layout.columns.starts[j], columns.length, std::nullopt};
        if (!rows.is_new() && !columns.is_new()) {
          column.block.emplace(parents, rows, columns);
        }
        pieces_.back().columns.push_back(std::move(column));
      }
    }
  }

  void make(int64_t begin, int64_t end, void* target) const override {
    for (const Piece& piece : pieces_) {
      const int64_t first = std::max(begin, piece.child_row);
      const int64_t last = std::min(end, piece.child_row + piece.rows);
      if (first >= last) continue;
      Stored* out =
          static_cast<Stored*>(target) + (first - begin) * child_columns_;
      for (const Column& column : piece.columns) {
        make_column(column, first - piece.child_row, last - piece.child_row,
                    out + column.child_column);
      }
    }
  }

 private:
  struct Column {
    int64_t child_column;
    int64_t columns;
    std::optional<ParentBlock> block;  // absent: new
  };
  struct Piece {
    int64_t child_row;
    int64_t rows;
    std::vector<Column> columns;
  };

  // Rows [first, last) of the piece; `out` is where the first one begins.
  void make_column(const Column& column, int64_t first, int64_t last,
                   Stored* out) const {
    at::Tensor read;
    if (column.block)
      read = column.block->read(first, last, kArithmetic<Stored>);
    const auto* in =
        column.block ? read.const_data_ptr<Arithmetic<Stored>>() : nullptr;
    const int64_t grain = std::max<int64_t>(1, kGrain / column.columns);
    kernels::parallel_blocks(last - first, grain, [&](int64_t a, int64_t b) {
      for (int64_t row = a; row < b; ++row) {
        Stored* to = out + row * child_columns_;
        if (in == nullptr) {
          std::fill_n(to, column.columns, static_cast<Stored>(0.0F));
        } else {
          copy_row(in + row * read.stride(0), column.columns, scale_, to);
        }
      }
    });
  }

  int64_t child_columns_ = 0;
  double scale_;
  std::vector<Piece> pieces_;
};

}  // namespace

LineLayout layout_of(const RowContext& context) {
  const TensorRecipe& line = context.line;
  const at::IntArrayRef parent = context.parents[0].sizes();
  ANNULI_CHECK(line.dimensions.size() == line.shape.size() &&
                   parent.size() == line.shape.size() &&
                   (parent.size() == 1 || parent.size() == 2),
               "{} has {} dimensions in the recipe and {} slice lists, its "
               "parent has {}",
               line.child, line.shape.size(), line.dimensions.size(),
               parent.size());
  for (size_t i = 0; i < parent.size(); ++i) {
    int64_t total = 0;
    for (const Slice& slice : line.dimensions[i].slices) {
      const bool inside =
          slice.is_new() ||
          (slice.start >= 0 && slice.start + slice.length <= parent[i]);
      ANNULI_CHECK(slice.length > 0 && inside, "{} reads past the end of {}",
                   line.child, line.parent);
      total += slice.length;
    }
    ANNULI_CHECK(total == line.shape[i],
                 "the slices of dimension {} of {} add up to {}, expected {}",
                 i, line.child, total, line.shape[i]);
  }
  const bool matrix = parent.size() == 2;
  return {
      placed(matrix ? line.dimensions[0].slices : std::vector<Slice>{{0, 1}}),
      placed(line.dimensions.back().slices), line.shape.back()};
}

std::vector<at::Tensor> parent_matrices(const RowContext& context) {
  std::vector<at::Tensor> matrices;
  for (const at::Tensor& parent : context.parents) {
    matrices.push_back(parent.dim() == 1 ? parent.unsqueeze(0) : parent);
  }
  return matrices;
}

RowSourcePtr copied_rows(const RowContext& context) {
  const TensorRecipe& line = context.line;
  ANNULI_CHECK(context.parents.size() == line.models.size(),
               "{} is made of {} models, {} are given", line.child,
               line.models.size(), context.parents.size());
  for (const at::Tensor& parent : context.parents) {
    ANNULI_CHECK(
        parent.defined() && parent.sizes() == context.parents[0].sizes(),
        "{} is made of {} and {}", line.child,
        kernels::words_of(context.parents[0]), kernels::words_of(parent));
  }
  RowSourcePtr source;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "grow",
      [&] { source = std::make_unique<CopiedRows<scalar_t>>(context); });
  return source;
}

}  // namespace annuli::grow
