#include "annuli/kernels/cpu/head_attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <type_traits>

#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/cpu/small_product.h"
#include "annuli/kernels/cpu/vector_exp.h"

#if defined(__x86_64__)

namespace annuli::kernels {
namespace {

constexpr int64_t kQueries = 64;  // per block; a multiple of kTileRows

// Memory on a cache line, cut into pieces.
template <typename T>
class Workspace {
 public:
  explicit Workspace(int64_t entries)
      : data_(static_cast<T*>(
            ::operator new(static_cast<size_t>(entries) * sizeof(T), kLine))),
        next_(data_.get()) {}
  T* take(int64_t entries) {
    T* piece = next_;
    next_ += entries;
    return piece;
  }
  T* take_zeros(int64_t entries) {
    std::fill(next_, next_ + entries, T{0});
    return take(entries);
  }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(T* data) const { ::operator delete(data, kLine); }
  };
  std::unique_ptr<T, Free> data_;
  T* next_;
};

// Sizes that follow from a shape, each padded to whole tiles.
template <typename T>
struct Layout {
  explicit Layout(const HeadShape& shape)
      : width(round_up(shape.head_dim, tile_columns<T>())),
        keys(round_up(shape.keys, tile_columns<T>())),
        // Rows of scores may be read up to a tile beyond the last key, and do
        // not all begin in the same sets of the cache.
        scores(keys + 64 / static_cast<int64_t>(sizeof(T))) {}
  int64_t width;   // a row of q, k, v
  int64_t keys;    // rows of k and v
  int64_t scores;  // a row of scores
};

// y = x turned by its token's angles (direction 1, or -1: back) times `scale`.
template <typename T, typename From, typename To>
ANNULI_AVX512 void turn_row(const From* x, const Rotation<T>& rotation,
                            int64_t t, int64_t head_dim, T direction, T scale,
                            To* y) {
  const int64_t half = rotation.half;
#pragma omp simd
  for (int64_t i = 2 * half; i < head_dim; ++i) store(scale * load(x[i]), y[i]);
  if (half == 0) return;
  const T* cos = rotation.cos + t * half;
  const T* sin = rotation.sin + t * half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const T s = direction * sin[i];
    const T low = load(x[i]);
    const T high = load(x[half + i]);
    store(scale * (low * cos[i] - high * s), y[i]);
    store(scale * (high * cos[i] + low * s), y[half + i]);
  }
}

// Rows of k turned to columns, in panels of a tile's columns: panel p is
// [head_dim][tile_columns].
template <typename T>
ANNULI_AVX512 void turn_to_panels(const T* rows, int64_t row, int64_t n,
                                  int64_t head_dim, T* panels) {
  constexpr int64_t kColumns = tile_columns<T>();
  for (int64_t j = 0; j < n; ++j) {
    T* panel = panels + j / kColumns * kColumns * head_dim + j % kColumns;
    const T* from = rows + j * row;
    for (int64_t d = 0; d < head_dim; ++d) panel[d * kColumns] = from[d];
  }
}

// One block of queries and what they may see.
struct QueryBlock {
  int64_t first;   // token of its first row
  int64_t rows;    // 1 .. kQueries
  int64_t hidden;  // keys before the first token's own: S - T

  int64_t tiles() const { return round_up(rows, kTileRows); }
  // Row r sees keys 0 .. visible(r) - 1.
  int64_t visible(int64_t r) const { return hidden + first + r + 1; }
};

// scores = a panels, as far as any row of a tile sees.
template <typename T>
ANNULI_AVX512 void score(const QueryBlock& block, int64_t keys,
                         int64_t head_dim, Strided<T> a, const T* panels,
                         T* scores, int64_t score_row) {
  constexpr int64_t kColumns = tile_columns<T>();
  const int64_t seen = std::min(keys, block.visible(block.rows - 1));
  for (int64_t j = 0; j < seen; j += kColumns) {
    // The first row that sees key j.
    const int64_t r0 = std::max<int64_t>(0, j + 1 - block.visible(0));
    for (int64_t r = r0 / kTileRows * kTileRows; r < block.tiles();
         r += kTileRows) {
      multiply_tile(head_dim, a.from(r, 0), panels + j * head_dim, kColumns,
                    scores + r * score_row + j, score_row, false);
    }
  }
}

// out = weights values, where row r of the weights ends with visible(r).
template <typename T>
ANNULI_AVX512 void mix(const QueryBlock& block, int64_t keys, const T* weights,
                       int64_t weight_row, const T* values, int64_t width,
                       T* out) {
  for (int64_t d = 0; d < width; d += tile_columns<T>()) {
    for (int64_t r = 0; r < block.tiles(); r += kTileRows) {
      const int64_t seen = std::min(keys, block.visible(r + kTileRows - 1));
      multiply_tile(seen, Strided<T>{weights + r * weight_row, weight_row},
                    values + d, width, out + r * width + d, width, false);
    }
  }
}

// sums += weights^T rows, over the queries that see each tile of keys.
template <typename T>
ANNULI_AVX512 void spread(const QueryBlock& block, int64_t keys,
                          const T* weights, int64_t weight_row, const T* rows,
                          int64_t width, T* sums) {
  const int64_t seen = std::min(keys, block.visible(block.rows - 1));
  for (int64_t d = 0; d < width; d += tile_columns<T>()) {
    for (int64_t j = 0; j < seen; j += kTileRows) {
      const int64_t r = std::max<int64_t>(0, j + 1 - block.visible(0));
      multiply_tile(block.rows - r,
                    Strided<T>{weights + r * weight_row + j, 1, weight_row},
                    rows + r * width + d, width, sums + j * width + d, width,
                    true);
    }
  }
}

// What a tile reads beyond a row's last visible key counts nothing.
template <typename T>
void hide(T* row, int64_t visible) {
  std::fill(row + visible, row + visible + kTileRows, T{0});
}

// The row becomes its exponentials over the largest; returns the logarithm of
// their sum, and 1 over the sum in `inverse`.
template <typename T>
ANNULI_AVX512 T exponentiate(T* row, int64_t visible, T* inverse) {
  T largest = row[0];
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < visible; ++j) {
    largest = row[j] > largest ? row[j] : largest;
  }
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < visible; ++j) {
    row[j] = exp_nonpositive(row[j] - largest);
    sum += row[j];
  }
  hide(row, visible);
  *inverse = 1 / sum;
  return largest + std::log(sum);
}

// weights = e^(scores - log_sum); dscores = weights (dweights - their mean
// under the weights), which is the softmax's gradient. Both in place.
template <typename T>
ANNULI_AVX512 void softmax_backward(T* scores, T* dweights, int64_t visible,
                                    T log_sum) {
  T mean = 0;
#pragma omp simd reduction(+ : mean)
  for (int64_t j = 0; j < visible; ++j) {
    scores[j] = exp_nonpositive(std::min(scores[j] - log_sum, T{0}));
    mean += scores[j] * dweights[j];
  }
#pragma omp simd
  for (int64_t j = 0; j < visible; ++j) {
    dweights[j] = scores[j] * (dweights[j] - mean);
  }
  hide(scores, visible);
  hide(dweights, visible);
}

// A head's rows lie far apart: no hardware prefetcher follows them.
template <typename T>
void prefetch(const HeadRows<T>& rows, int64_t t, int64_t head_dim) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  constexpr bool kWrite = !std::is_const_v<T>;
  for (int64_t i = 0; i < head_dim; i += kLine) {
    __builtin_prefetch(rows[t] + i, kWrite);
  }
}

constexpr int64_t kAhead = 12;  // rows

// Turned forward, and to whole tiles with zeros.
template <typename T>
void turn_rows(HeadRows<const T> from, int64_t first, int64_t n,
               int64_t head_dim, const Rotation<T>& rotation, T scale, T* to,
               int64_t width) {
  for (int64_t r = 0; r < n; ++r) {
    if (r + kAhead < n) prefetch(from, first + r + kAhead, head_dim);
    turn_row(from[first + r], rotation, first + r, head_dim, T{1}, scale,
             to + r * width);
    std::fill(to + r * width + head_dim, to + (r + 1) * width, T{0});
  }
}

// Turned back, and into their place.
template <typename T, typename Out>
void write_rows(const T* from, int64_t width, int64_t first, int64_t n,
                int64_t head_dim, const Rotation<T>& rotation, T scale,
                HeadRows<Out> to) {
  for (int64_t r = 0; r < n; ++r) {
    if (r + kAhead < n) prefetch(to, first + r + kAhead, head_dim);
    turn_row(from + r * width, rotation, first + r, head_dim, T{-1}, scale,
             to[first + r]);
  }
}

template <typename T>
T scale_of(const HeadShape& shape) {
  return 1 / std::sqrt(static_cast<T>(shape.head_dim));
}

QueryBlock block_at(const HeadShape& shape, int64_t first) {
  return {.first = first,
          .rows = std::min(kQueries, shape.queries - first),
          .hidden = shape.keys - shape.queries};
}

}  // namespace

template <typename T, typename Out>
void attend_head(const HeadShape& shape, HeadRows<const T> q,
                 HeadRows<const T> k, HeadRows<const T> v,
                 const Rotation<T>& rotation, HeadRows<Out> out, T* log_sum) {
  const Layout<T> layout(shape);
  const int64_t width = layout.width;
  const int64_t hd = shape.head_dim;
  Workspace<T> space(2 * layout.keys * width + 2 * kQueries * width +
                     kQueries * layout.scores);
  T* rows = space.take(layout.keys * width);
  T* key_panels = space.take(layout.keys * width);
  T* queries = space.take(kQueries * width);
  T* mixed = space.take(kQueries * width);
  T* scores = space.take(kQueries * layout.scores);
  turn_rows(k, 0, shape.keys, hd, rotation, T{1}, rows, width);
  turn_to_panels(rows, width, shape.keys, hd, key_panels);
  turn_rows(v, 0, shape.keys, hd, Rotation<T>{}, T{1}, rows, width);
  for (int64_t first = 0; first < shape.queries; first += kQueries) {
    const QueryBlock block = block_at(shape, first);
    turn_rows(q, first, block.rows, hd, rotation, scale_of<T>(shape), queries,
              width);
    score(block, shape.keys, hd, Strided<T>{queries, width}, key_panels, scores,
          layout.scores);
    T inverse[kQueries];
    for (int64_t r = 0; r < block.rows; ++r) {
      log_sum[first + r] = exponentiate(scores + r * layout.scores,
                                        block.visible(r), inverse + r);
    }
    mix(block, shape.keys, scores, layout.scores, rows, width, mixed);
    for (int64_t r = 0; r < block.rows; ++r) {
      turn_row(mixed + r * width, Rotation<T>{}, 0, hd, T{1}, inverse[r],
               out[first + r]);
    }
  }
}

template <typename T, typename Out>
void attend_head_backward(const HeadShape& shape, HeadRows<const T> q,
                          HeadRows<const T> k, HeadRows<const T> v,
                          const Rotation<T>& rotation, HeadRows<const T> dout,
                          const T* log_sum,
                          const HeadGradients<T, Out>& gradients) {
  const Layout<T> layout(shape);
  const int64_t width = layout.width;
  const int64_t hd = shape.head_dim;
  const int64_t all = layout.keys * width;
  const int64_t some = kQueries * width;
  Workspace<T> space(5 * all + 3 * some + 2 * kQueries * layout.scores);
  T* keys = space.take(all);
  T* key_panels = space.take(all);
  T* value_panels = space.take(all);
  T* dkeys = space.take_zeros(all);
  T* dvalues = space.take_zeros(all);
  T* queries = space.take(some);
  T* douts = space.take(some);
  T* dqueries = space.take(some);
  T* scores = space.take(kQueries * layout.scores);
  T* dscores = space.take(kQueries * layout.scores);
  const T scale = scale_of<T>(shape);
  turn_rows(v, 0, shape.keys, hd, Rotation<T>{}, T{1}, keys, width);
  turn_to_panels(keys, width, shape.keys, hd, value_panels);
  turn_rows(k, 0, shape.keys, hd, rotation, T{1}, keys, width);
  turn_to_panels(keys, width, shape.keys, hd, key_panels);
  for (int64_t g = 0; g < shape.group; ++g) {
    const auto of_head = [&](auto rows) {
      rows.data += g * hd;
      return rows;
    };
    for (int64_t first = 0; first < shape.queries; first += kQueries) {
      const QueryBlock block = block_at(shape, first);
      turn_rows(of_head(q), first, block.rows, hd, rotation, scale, queries,
                width);
      turn_rows(of_head(dout), first, block.rows, hd, Rotation<T>{}, T{1},
                douts, width);
      score(block, shape.keys, hd, Strided<T>{queries, width}, key_panels,
            scores, layout.scores);
      score(block, shape.keys, hd, Strided<T>{douts, width}, value_panels,
            dscores, layout.scores);
      for (int64_t r = 0; r < block.rows; ++r) {
        softmax_backward(scores + r * layout.scores,
                         dscores + r * layout.scores, block.visible(r),
                         log_sum[g * shape.sums + first + r]);
      }
      spread(block, shape.keys, scores, layout.scores, douts, width, dvalues);
      spread(block, shape.keys, dscores, layout.scores, queries, width, dkeys);
      mix(block, shape.keys, dscores, layout.scores, keys, width, dqueries);
      write_rows(dqueries, width, first, block.rows, hd, rotation, scale,
                 of_head(gradients.q));
    }
  }
  write_rows(dkeys, width, 0, shape.keys, hd, rotation, T{1}, gradients.k);
  write_rows(dvalues, width, 0, shape.keys, hd, Rotation<T>{}, T{1},
             gradients.v);
}

#define ANNULI_HEADS(T, OUT)                                                \
  template void attend_head(const HeadShape&, HeadRows<const T>,            \
                            HeadRows<const T>, HeadRows<const T>,           \
                            const Rotation<T>&, HeadRows<OUT>, T*);         \
  template void attend_head_backward(const HeadShape&, HeadRows<const T>,   \
                                     HeadRows<const T>, HeadRows<const T>,  \
                                     const Rotation<T>&, HeadRows<const T>, \
                                     const T*, const HeadGradients<T, OUT>&)
ANNULI_HEADS(float, float);
ANNULI_HEADS(float, at::BFloat16);
ANNULI_HEADS(double, double);
#undef ANNULI_HEADS

}  // namespace annuli::kernels

#endif
