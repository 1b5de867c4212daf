#pragma once

#include <cstdint>
#include <string>

// What the system says of the machine that this process runs on. Where it says
// nothing texts are empty and numbers 0.
namespace annuli {

struct Machine {
  std::string processor;  // "AMD EPYC 9R14"
  int64_t hardware_threads = 0;
  int64_t memory_bytes = 0;
  bool avx2 = false;
  bool avx512f = false;
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
};

Machine this_machine();
int64_t available_memory_bytes();

// "this host" where it has no name.
std::string host_name();

}  // namespace annuli
