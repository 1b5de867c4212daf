#include "annuli/kernels/cpu/gemv.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/code_range.h"

namespace annuli::kernels {

namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kLine = 64;       // bytes of W that are read at once
constexpr int64_t kColumns = 1024;  // per block: x of 8 rows fits the L1 cache
constexpr int64_t kTaskRows = 24;   // rows of W: whole groups of 3 and of 4
constexpr int64_t kMostRows = 8;    // rows of x per pass over W
constexpr int64_t kSerialBytes = 1 << 16;  // less is not worth a second thread

using Lanes = float __attribute__((vector_size(64)));
using HalfLanes = float __attribute__((vector_size(32)));
using QuarterLanes = float __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(64)));

using Shorts = int16_t __attribute__((vector_size(32)));
using Ints = int32_t __attribute__((vector_size(64)));

struct Bf16 {
  uint16_t bits;
};
struct Code {
  int8_t value;
};

// Entries of a line. Half a line of codes, so that sums are those of bf16.
template <typename W>
constexpr int64_t kStep = kLine / std::max<int64_t>(sizeof(W), 2);
template <typename W>
constexpr int kParts = kStep<W> / kLanes;

// A line of W as floats. That of a bf16 one comes apart into its even and its
// odd entries (a bf16 number is the upper half of a float), and x is laid out
// to match: two operations where widening in order takes four.
ANNULI_INLINE void load_line(const float* w, float, Lanes (&parts)[1]) {
  std::memcpy(&parts[0], w, kLine);
}
ANNULI_INLINE void load_line(const Bf16* w, float, Lanes (&parts)[2]) {
  Words words;
  std::memcpy(&words, w, kLine);
  const Words even = words << 16;
  const Words odd = words & 0xffff0000u;
  std::memcpy(&parts[0], &even, kLine);
  std::memcpy(&parts[1], &odd, kLine);
}

// Codes come apart as bf16 numbers do, and times their block's scale are those.
ANNULI_INLINE void load_line(const Code* w, float scale, Lanes (&parts)[2]) {
  Shorts pairs;
  std::memcpy(&pairs, w, sizeof(pairs));
  const Ints wide = __builtin_convertvector(pairs, Ints);
  const Ints even = (wide << 24) >> 24;
  const Ints odd = wide >> 8;
  parts[0] = __builtin_convertvector(even, Lanes) * scale;
  parts[1] = __builtin_convertvector(odd, Lanes) * scale;
}

// The scales of the blocks that some rows of codes go through, line by line.
template <int R>
class Scales {
 public:
  ANNULI_INLINE Scales(const int8_t* exponents, int64_t of_row, int64_t block,
                       int64_t column)
      : next_(exponents + column / block),
        of_row_(of_row),
        block_(block),
        left_(block - column % block) {
    read();
  }
  ANNULI_INLINE const float (&now() const)[R] { return scales_; }
  ANNULI_INLINE void pass(int64_t entries) {
    left_ -= entries;
    if (left_ > 0) return;
    ++next_;
    left_ += block_;
    stale_ = true;
  }
  // Before a line is read: beyond a row's last block there is none.
  ANNULI_INLINE void refresh() {
    if (stale_) read();
  }

 private:
  ANNULI_INLINE void read() {
    stale_ = false;
    for (int r = 0; r < R; ++r) scales_[r] = scale_of(next_[r * of_row_]);
  }

  const int8_t* next_;
  int64_t of_row_;
  int64_t block_;
  int64_t left_;
  bool stale_ = false;
  float scales_[R];
};

// Other weights have none.
template <int R>
struct NoScales {
  const float none[R] = {};
  ANNULI_INLINE const float (&now() const)[R] { return none; }
  ANNULI_INLINE void pass(int64_t) {}
  ANNULI_INLINE void refresh() {}
};

ANNULI_INLINE float sum_of(const Lanes& lanes) {
  HalfLanes half[2];
  std::memcpy(half, &lanes, sizeof(lanes));
  half[0] += half[1];
  QuarterLanes quarter[2];
  std::memcpy(quarter, half, sizeof(half[0]));
  const QuarterLanes sum = quarter[0] + quarter[1];
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

// A line of R rows of W times M rows of x, added to the sums.
template <int R, int M, typename W>
ANNULI_INLINE void add_line(const W* w, int64_t stride, int64_t ahead,
                            const float (&scales)[R], const float* x,
                            Lanes (&sum)[R][M]) {
  Lanes line[R][kParts<W>];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    __builtin_prefetch(w + r * stride + ahead);
    load_line(w + r * stride, scales[r], line[r]);
  }
#pragma GCC unroll 2
  for (int part = 0; part < kParts<W>; ++part) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      Lanes factor;
      std::memcpy(&factor, x + (m * kParts<W> + part) * kLanes, kLine);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[r][m] += line[r][part] * factor;
    }
  }
}

// R rows of W times M rows of packed x over one block of columns.
template <int R, int M, typename W, typename S>
ANNULI_INLINE void tile(const W* w, int64_t stride, int64_t columns,
                        int64_t ahead, S scales, const float* x, float* y,
                        int64_t y_stride, bool first) {
  Lanes sum[R][M];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sum[r][m] = Lanes{};
  }
  int64_t k = 0;
  for (; k + kStep<W> <= columns; k += kStep<W>, x += M * kStep<W>) {
    scales.refresh();
    add_line<R, M>(w + k, stride, ahead, scales.now(), x, sum);
    scales.pass(kStep<W>);
  }
  if (k < columns) {
    scales.refresh();
    W rest[R][kStep<W>] = {};
    for (int r = 0; r < R; ++r) {
      std::memcpy(rest[r], w + r * stride + k, (columns - k) * sizeof(W));
    }
    add_line<R, M>(rest[0], kStep<W>, 0, scales.now(), x, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      float& out = y[m * y_stride + r];
      out = first ? sum_of(sum[r][m]) : out + sum_of(sum[r][m]);
    }
  }
}

// What a thread does of a product.
template <typename W>
struct Part {
  const W* w;
  int64_t stride;
  int64_t rows;
  int64_t columns;
  const float* x;  // packed
  float* y;
  int64_t y_stride;
  const int8_t* exponents;  // of codes
  int64_t code_block;
};

// Entries from a line to the one to prefetch: the same columns of the next
// group of rows, or, where that is far, 2 KiB further on.
template <int R, typename W>
ANNULI_INLINE int64_t prefetch_distance(const Part<W>& part) {
  const int64_t group = R * part.stride;
  const auto size = static_cast<int64_t>(sizeof(W));
  return group * size <= 16384 ? group : 2048 / size;
}

template <int R, typename W>
ANNULI_INLINE NoScales<R> scales_of(const Part<W>&, int64_t, int64_t) {
  return {};
}
template <int R>
ANNULI_INLINE Scales<R> scales_of(const Part<Code>& part, int64_t row,
                                  int64_t column) {
  const int64_t of_row = (part.columns + part.code_block - 1) / part.code_block;
  return {part.exponents + row * of_row, of_row, part.code_block, column};
}

template <int R, int M, typename W>
ANNULI_INLINE void block(const Part<W>& part, int64_t row, int64_t column) {
  tile<R, M>(part.w + row * part.stride + column, part.stride,
             std::min(kColumns, part.columns - column),
             prefetch_distance<R>(part), scales_of<R>(part, row, column),
             part.x + column * M, part.y + row, part.y_stride, column == 0);
}

template <int R, int M, typename W>
ANNULI_INLINE void row_group(const Part<W>& part, int64_t row) {
  for (int64_t column = 0; column < part.columns; column += kColumns) {
    block<R, M>(part, row, column);
  }
}

// With few rows of x, W is read row by row; with more, block by block, so that
// the columns of x at work stay in the first cache. A sum is formed in the same
// order either way.
template <int M, typename W>
ANNULI_INLINE void multiply_part(const Part<W>& part) {
  constexpr int R = M > 4 ? 3 : 4;  // sums and lines fit 32 registers
  const int64_t whole = part.rows - part.rows % R;
  if constexpr (M <= 4) {
    for (int64_t row = 0; row < whole; row += R) row_group<R, M>(part, row);
  } else {
    for (int64_t column = 0; column < part.columns; column += kColumns) {
      for (int64_t row = 0; row < whole; row += R) {
        block<R, M>(part, row, column);
      }
    }
  }
  for (int64_t row = whole; row < part.rows; ++row) row_group<1, M>(part, row);
}

template <typename W>
ANNULI_INLINE void multiply_part(const Part<W>& part, int64_t M) {
  switch (M) {
    case 1:
      return multiply_part<1>(part);
    case 2:
      return multiply_part<2>(part);
    case 3:
      return multiply_part<3>(part);
    case 4:
      return multiply_part<4>(part);
    case 5:
      return multiply_part<5>(part);
    case 6:
      return multiply_part<6>(part);
    case 7:
      return multiply_part<7>(part);
    default:
      return multiply_part<8>(part);
  }
}

ANNULI_VECTOR_CLONES void run_part(const Part<float>& part, int64_t M) {
  multiply_part(part, M);
}
ANNULI_VECTOR_CLONES void run_part(const Part<Bf16>& part, int64_t M) {
  multiply_part(part, M);
}
ANNULI_VECTOR_CLONES void run_part(const Part<Code>& part, int64_t M) {
  multiply_part(part, M);
}

int64_t step_of(const RowMatrix& weight) {
  return weight.dtype == at::kFloat ? kStep<float> : kStep<Bf16>;
}

int64_t packed_columns(const RowMatrix& weight) {
  const int64_t step = step_of(weight);
  return (weight.columns + step - 1) / step * step;
}

ANNULI_INLINE void pack_line(const float* x, int64_t parts, float* out) {
  if (parts == 1) {
    std::memcpy(out, x, kLanes * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < kLanes; ++i) out[i] = x[2 * i];
  for (int64_t i = 0; i < kLanes; ++i) out[kLanes + i] = x[2 * i + 1];
}

// The layout that `add_line` reads: [M, columns] in groups of up to kMostRows
// rows, a group as [line][row][step], zeros beyond the last column.
ANNULI_VECTOR_CLONES void pack(const Product& product, float* out) {
  const int64_t columns = product.weight.columns;
  const int64_t step = step_of(product.weight);
  for (int64_t first = 0; first < product.M; first += kMostRows) {
    const int64_t last = std::min(product.M, first + kMostRows);
    for (int64_t k = 0; k < columns; k += step) {
      for (int64_t m = first; m < last; ++m, out += step) {
        const float* x = product.x + m * product.x_stride + k;
        float rest[kStep<Bf16>] = {};
        if (k + step > columns) std::copy(x, x + columns - k, rest);
        pack_line(k + step > columns ? rest : x, step / kLanes, out);
      }
    }
  }
}

// Memory for n floats that begins a line. It stays with the calling thread.
float* scratch(int64_t n) {
  struct Free {
    void operator()(float* p) const {
      ::operator delete[](p, std::align_val_t(kLine));
    }
  };
  thread_local std::unique_ptr<float[], Free> memory;
  thread_local int64_t size = 0;
  if (n > size) {
    memory.reset(new (std::align_val_t(kLine)) float[n]);
    size = n;
  }
  return memory.get();
}

struct Job {
  const Product* product;
  const float* x;  // packed
};

bool same_factor(const Product& a, const Product& b) {
  return a.x == b.x && a.x_stride == b.x_stride && a.M == b.M &&
         a.weight.columns == b.weight.columns &&
         a.weight.dtype == b.weight.dtype;
}

// Packs x, once for products in a row that have the same.
std::vector<Job> pack_all(std::span<const Product> products) {
  const auto begins = [&](size_t i) {
    return i == 0 || !same_factor(products[i - 1], products[i]);
  };
  int64_t size = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const Product& product = products[i];
    if (begins(i)) size += product.M * packed_columns(product.weight);
  }
  float* next = scratch(size);
  const float* x = next;
  std::vector<Job> jobs;
  jobs.reserve(products.size());
  for (size_t i = 0; i < products.size(); ++i) {
    if (begins(i)) {
      pack(products[i], next);
      x = std::exchange(
          next, next + products[i].M * packed_columns(products[i].weight));
    }
    jobs.push_back({&products[i], x});
  }
  return jobs;
}

template <typename W>
void run_rows(const Job& job, int64_t begin, int64_t end) {
  const Product& product = *job.product;
  const RowMatrix& weight = product.weight;
  const int64_t block = code_block(weight.columns);
  const int64_t blocks = (weight.columns + block - 1) / block;
  for (int64_t m = 0; m < product.M; m += kMostRows) {
    run_part(
        Part<W>{.w = static_cast<const W*>(weight.data) + begin * weight.stride,
                .stride = weight.stride,
                .rows = end - begin,
                .columns = weight.columns,
                .x = job.x + m * packed_columns(weight),
                .y = product.y + m * product.y_stride + begin,
                .y_stride = product.y_stride,
                .exponents = weight.exponents == nullptr
                                 ? nullptr
                                 : weight.exponents + begin * blocks,
                .code_block = block},
        std::min(kMostRows, product.M - m));
  }
  if (product.bias == nullptr) return;
  for (int64_t m = 0; m < product.M; ++m) {
    float* y = product.y + m * product.y_stride;
    for (int64_t row = begin; row < end; ++row) y[row] += product.bias[row];
  }
}

int64_t tasks_of(const Product& product) {
  return (product.weight.rows + kTaskRows - 1) / kTaskRows;
}

// Tasks [first, last) of all the jobs' tasks, one after the other.
void run_tasks(std::span<const Job> jobs, int64_t first, int64_t last) {
  for (const Job& job : jobs) {
    const int64_t tasks = tasks_of(*job.product);
    const int64_t end = std::min(last, tasks);
    for (int64_t task = std::max<int64_t>(first, 0); task < end; ++task) {
      const int64_t row = task * kTaskRows;
      const int64_t row_end =
          std::min(row + kTaskRows, job.product->weight.rows);
      if (job.product->weight.dtype == at::kFloat) {
        run_rows<float>(job, row, row_end);
      } else if (job.product->weight.dtype == at::kChar) {
        run_rows<Code>(job, row, row_end);
      } else {
        run_rows<Bf16>(job, row, row_end);
      }
    }
    first -= tasks;
    last -= tasks;
  }
}

void check(const Product& product) {
  const RowMatrix& weight = product.weight;
  ANNULI_CHECK(weight.dtype == at::kFloat || weight.dtype == at::kBFloat16 ||
                   (weight.dtype == at::kChar && weight.exponents != nullptr),
               "a matrix of {}", c10::toString(weight.dtype));
  ANNULI_CHECK(product.M >= 1 && weight.stride >= weight.columns,
               "{} rows times a matrix of {} columns, {} apart in memory",
               product.M, weight.columns, weight.stride);
}

}  // namespace

int64_t RowMatrix::bytes() const {
  return rows * columns * static_cast<int64_t>(c10::elementSize(dtype));
}

RowMatrix row_matrix(const at::Tensor& weight) {
  ANNULI_CHECK(is_row_matrix(weight), "not the rows of a matrix");
  return {.data = weight.const_data_ptr(),
          .dtype = weight.scalar_type(),
          .rows = weight.size(0),
          .columns = weight.size(1),
          .stride = weight.stride(0)};
}

RowMatrix row_matrix(const CodedMatrix& codes) {
  ANNULI_CHECK(is_row_matrix(codes), "not the codes of rows");
  return {.data = codes.codes.const_data_ptr(),
          .dtype = at::kChar,
          .rows = codes.codes.size(0),
          .columns = codes.codes.size(1),
          .stride = codes.codes.size(1),
          .exponents = codes.exponents.const_data_ptr<int8_t>()};
}

void multiply(std::span<const Product> products) {
  int64_t bytes = 0;
  int64_t tasks = 0;
  for (const Product& product : products) {
    check(product);
    bytes += product.weight.bytes();
    tasks += tasks_of(product);
  }
  const std::vector<Job> jobs = pack_all(products);
  const auto run = [&](int64_t first, int64_t last) {
    run_tasks(jobs, first, last);
  };
  if (bytes < kSerialBytes) {
    run(0, tasks);
  } else {
    at::parallel_for(0, tasks, 1, run);
  }
}

at::Tensor cpu::gemv(const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).contiguous();
  const at::Tensor wide =
      bias.defined() ? bias.to(at::kFloat).contiguous() : bias;
  at::Tensor y = at::empty({rows.size(0), weight.size(0)}, x.options());
  if (rows.size(0) > 0) {
    const Product product{
        .weight = row_matrix(weight),
        .bias = wide.defined() ? wide.const_data_ptr<float>() : nullptr,
        .x = rows.const_data_ptr<float>(),
        .x_stride = rows.size(1),
        .M = rows.size(0),
        .y = y.mutable_data_ptr<float>(),
        .y_stride = y.size(1)};
    multiply({&product, 1});
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  return y.view(shape);
}

}  // namespace annuli::kernels
