#include <cstdlib>

// MKL asks this function whether the processor is Intel's and otherwise takes
// its AVX2 path at half speed, on processors that have AVX-512 too. The
// executable's definition comes before the one inside libtorch_cpu.so as long
// as the executable exports it (annuli_mkl_dispatch adds -rdynamic). MKL still
// reads the CPUID flags before it uses an instruction set.
extern "C" __attribute__((visibility("default"))) int
mkl_serv_intel_cpu_true() {
  return __builtin_cpu_supports("avx512f") || __builtin_cpu_supports("avx2");
}

namespace {

// With AVX2 alone, MKL adds up most products in an order that depends on the
// number of threads, unless it is asked not to; at the same speed
// (docs/log.md). It reads the variable at its first call, so before main
// is early enough. What the user chose stands.
[[maybe_unused]] const int strict_sums = [] {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return 0;
  return ::setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}();

}  // namespace
