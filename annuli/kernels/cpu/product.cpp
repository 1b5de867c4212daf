#include "annuli/kernels/cpu/product.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/empty_like.h>
#include <ATen/record_function.h>

#include <array>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/product.h"
#include "annuli/kernels/tensor_words.h"

// MKL's, inside libtorch_cpu.so: bf16 in, fp32 out.
extern "C" void cblas_gemm_bf16bf16f32(int layout, int trans_a, int trans_b,
                                       int m, int n, int k, float alpha,
                                       const uint16_t* a, int lda,
                                       const uint16_t* b, int ldb, float beta,
                                       float* c, int ldc);

namespace annuli::kernels {
namespace {

constexpr int kRowMajor = 101;
constexpr int kPlain = 111;
constexpr int kTransposed = 112;
constexpr int64_t kElements = 1 << 14;  // converted per block

// A matrix as BLAS wants it: rows in memory, or the transpose of such.
struct BlasMatrix {
  explicit BlasMatrix(const at::Tensor& matrix)
      : data(reinterpret_cast<const uint16_t*>(
            matrix.const_data_ptr<at::BFloat16>())),
        transposed(!matrix.is_contiguous()),
        stride(static_cast<int>(matrix.size(transposed ? 0 : 1))) {
    ANNULI_CHECK(!transposed || matrix.t().is_contiguous(),
                 "{} is no matrix in memory and no transpose of one",
                 words_of(matrix));
  }
  int flag() const { return transposed ? kTransposed : kPlain; }

  const uint16_t* data;
  bool transposed;
  int stride;
};

template <typename From, typename To>
ANNULI_INLINE void convert_block(const From* from, To* to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(load(from[i]), to[i]);
}
ANNULI_VECTOR_CLONES void convert(const float* from, at::BFloat16* to,
                                  int64_t n) {
  convert_block(from, to, n);
}
ANNULI_VECTOR_CLONES void convert(const float* from, RoundedFloat* to,
                                  int64_t n) {
  convert_block(from, to, n);
}
ANNULI_VECTOR_CLONES void convert(const at::BFloat16* from, float* to,
                                  int64_t n) {
  convert_block(from, to, n);
}

// Storage order, so the strides must be dense.
template <typename From, typename To>
void convert_all(const at::Tensor& from, at::Tensor& to) {
  const auto* in = static_cast<const From*>(from.const_data_ptr());
  auto* out = static_cast<To*>(to.mutable_data_ptr());
  parallel_blocks(from.numel(), kElements, [=](int64_t begin, int64_t end) {
    convert(in + begin, out + begin, end - begin);
  });
}

at::Tensor dense(const at::Tensor& x) {
  return x.is_non_overlapping_and_dense() ? x : x.contiguous();
}

// Clang learned the name with version 16.
bool has_amx() {
#if defined(__x86_64__) && (!defined(__clang__) || __clang_major__ >= 16)
  return __builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

}  // namespace

bool bf16_is_fast() {
#ifdef __x86_64__
  static const bool fast =
      has_amx() ||
      (__builtin_cpu_supports("avx512bf16") &&
       (__builtin_cpu_is("amd") || __builtin_cpu_is("cooperlake")));
  return fast;
#else
  return false;
#endif
}

at::Tensor cpu::narrowed(const at::Tensor& given) {
  RECORD_USER_SCOPE("round to bf16");
  const at::Tensor x = dense(given);
  at::Tensor to = at::empty_like(x, at::kBFloat16);
  convert_all<float, at::BFloat16>(x, to);
  return to;
}

at::Tensor cpu::rounded(const at::Tensor& given) {
  RECORD_USER_SCOPE("round to bf16");
  const at::Tensor x = dense(given);
  at::Tensor to = at::empty_like(x, at::kFloat);
  if (x.scalar_type() == at::kBFloat16) {
    convert_all<at::BFloat16, float>(x, to);
  } else {
    convert_all<float, RoundedFloat>(x, to);
  }
  return to;
}

void cpu::multiply_bf16(at::Tensor& out, const at::Tensor& a,
                        const at::Tensor& b, bool accumulate) {
  RECORD_USER_SCOPE_WITH_INPUTS("product", (std::array<c10::IValue, 2>{a, b}));
  const BlasMatrix left(a);
  const BlasMatrix right(b);
  cblas_gemm_bf16bf16f32(
      kRowMajor, left.flag(), right.flag(), static_cast<int>(a.size(0)),
      static_cast<int>(b.size(1)), static_cast<int>(a.size(1)), 1.0f, left.data,
      left.stride, right.data, right.stride, accumulate ? 1.0f : 0.0f,
      out.mutable_data_ptr<float>(), static_cast<int>(out.size(1)));
}

}  // namespace annuli::kernels
