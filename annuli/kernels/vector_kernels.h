#pragma once

namespace annuli::kernels {

// Which of the versions of our loops (ANNULI_VECTOR_CLONES in parallel.h) this
// processor runs: "AVX-512", "AVX2" or "plain". They differ in rounding.
const char* vector_kernels();

}  // namespace annuli::kernels
