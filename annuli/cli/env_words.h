#pragma once

#include <string>

namespace annuli::cli {

// Which of MKL's paths products take: the widest that the processor has, of
// whatever make it is, if the program's own answer is asked; `avx512`: whether
// the processor has it.
inline std::string mkl_dispatch_words(bool ours, bool avx512) {
  if (!ours) return "MKL's own: half speed on AMD";
  return std::string("ours: ") + (avx512 ? "AVX-512" : "AVX2") +
         ", as on Intel's, on any maker's processor";
}

}  // namespace annuli::cli
