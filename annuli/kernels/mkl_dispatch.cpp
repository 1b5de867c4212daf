// MKL asks this function whether the processor is Intel's and otherwise takes
// its AVX2 path at half speed, on processors that have AVX-512 too. The
// executable's definition comes before the one inside libtorch_cpu.so as long
// as the executable exports it (annuli_mkl_dispatch adds -rdynamic). MKL still
// reads the CPUID flags before it uses an instruction set.
extern "C" __attribute__((visibility("default"))) int
mkl_serv_intel_cpu_true() {
  return __builtin_cpu_supports("avx512f") || __builtin_cpu_supports("avx2");
}
