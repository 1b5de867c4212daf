#include "annuli/kernels/vector_kernels.h"

namespace annuli::kernels {

const char* vector_kernels() {
#if defined(__x86_64__) && !defined(ANNULI_SANITIZED)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return "AVX-512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return "AVX2";
  }
#endif
  return "plain";
}

}  // namespace annuli::kernels
