#include "annuli/kernels/cpu/optim/squared_norm.h"

#include "annuli/core/error.h"

#include "annuli/kernels/cpu/optim/optimizer_loop.h"

namespace annuli::kernels {
namespace {

template <typename T>
ANNULI_INLINE double sum_of_squares(const T* values, int64_t size) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) {
    const auto value = static_cast<double>(load(values, i));
    sum += value * value;
  }
  return sum;
}

ANNULI_VECTOR_CLONES double chunk(const float* values, int64_t size) {
  return sum_of_squares(values, size);
}
ANNULI_VECTOR_CLONES double chunk(const double* values, int64_t size) {
  return sum_of_squares(values, size);
}
ANNULI_VECTOR_CLONES double chunk(const at::BFloat16* values, int64_t size) {
  return sum_of_squares(values, size);
}

template <typename T>
double all(const at::Tensor& tensor) {
  const T* values = tensor.const_data_ptr<T>();
  return sum_over_chunks(tensor.numel(), [&](int64_t begin, int64_t end) {
    return chunk(values + begin, end - begin);
  });
}

}  // namespace

double cpu::squared_norm(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return all<float>(tensor);
    case at::kDouble:
      return all<double>(tensor);
    case at::kBFloat16:
      return all<at::BFloat16>(tensor);
    default:
      ANNULI_CHECK(false, "squares of {}", c10::toString(tensor.scalar_type()));
  }
}

}  // namespace annuli::kernels
