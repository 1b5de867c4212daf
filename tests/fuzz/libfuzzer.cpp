// One target as libFuzzer wants it; ANNULI_FUZZ_TARGET names it.
#include <cstddef>
#include <cstdint>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "tests/fuzz/target.h"

namespace annuli::fuzz {
namespace {

// Seeds go into the first folder that libFuzzer is given, if it is empty.
void write_seeds(const Target& target, const fs::path& folder) {
  if (!fs::is_directory(folder) || !fs::is_empty(folder)) return;
  int number = 0;
  for (const std::string& seed : target.seeds()) {
    write_file_atomically(folder / fmt::format("seed-{}", number++), seed);
  }
}

const Target& chosen() {
  static const Target& target = target_of(ANNULI_FUZZ_TARGET);
  return target;
}

}  // namespace
}  // namespace annuli::fuzz

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i) {
    if ((*argv)[i][0] == '-') continue;
    annuli::fuzz::write_seeds(annuli::fuzz::chosen(), (*argv)[i]);
    break;
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  annuli::fuzz::try_input(
      annuli::fuzz::chosen(),
      std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
