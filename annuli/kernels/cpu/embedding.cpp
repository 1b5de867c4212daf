#include "annuli/kernels/cpu/embedding.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <vector>

#include "annuli/kernels/cpu/bf16.h"

namespace annuli::kernels {
namespace {

constexpr int64_t kTokens = 32;   // per block
constexpr int64_t kColumns = 64;  // per block: whole cache lines

template <typename From, typename To>
void copy_rows(const at::Tensor& table, const at::Tensor& tokens,
               at::Tensor& rows) {
  const int64_t D = table.size(1);
  const From* in = table.const_data_ptr<From>();
  const int64_t* id = tokens.const_data_ptr<int64_t>();
  To* out = rows.mutable_data_ptr<To>();
  parallel_blocks(tokens.numel(), kTokens, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t d = 0; d < D; ++d) {
        out[n * D + d] = static_cast<To>(load(in[id[n] * D + d]));
      }
    }
  });
}

// Columns begin .. end of dtable[tokens[n]] += drows[n].
template <typename T>
void add_columns(const T* drows, const int64_t* tokens, int64_t N, int64_t D,
                 int64_t begin, int64_t end, T* dtable) {
  for (int64_t n = 0; n < N; ++n) {
    const T* from = drows + n * D;
    T* to = dtable + tokens[n] * D;
#pragma omp simd
    for (int64_t d = begin; d < end; ++d) to[d] += from[d];
  }
}

}  // namespace

at::Tensor cpu::embedding_rows(const at::Tensor& table,
                               const at::Tensor& tokens, at::ScalarType type) {
  std::vector<int64_t> shape = tokens.sizes().vec();
  shape.push_back(table.size(1));
  at::Tensor rows = at::empty(shape, table.options().dtype(type));
  AT_DISPATCH_FLOATING_TYPES(type, "embedding", [&] {
    switch (table.scalar_type()) {
      case at::kFloat:
        return copy_rows<float, scalar_t>(table, tokens, rows);
      case at::kDouble:
        return copy_rows<double, scalar_t>(table, tokens, rows);
      default:
        return copy_rows<at::BFloat16, scalar_t>(table, tokens, rows);
    }
  });
  return rows;
}

// Each block of columns sees all tokens in order, so two equal tokens never
// meet.
void cpu::add_embedding_rows(at::Tensor& dtable, const at::Tensor& tokens,
                             const at::Tensor& drows) {
  const int64_t D = dtable.size(1);
  const int64_t N = tokens.numel();
  const int64_t* id = tokens.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(dtable.scalar_type(), "embedding_backward", [&] {
    const auto* in = drows.const_data_ptr<scalar_t>();
    auto* out = dtable.mutable_data_ptr<scalar_t>();
    parallel_blocks(D, kColumns, [=](int64_t begin, int64_t end) {
      add_columns(in, id, N, D, begin, end, out);
    });
  });
}

}  // namespace annuli::kernels
