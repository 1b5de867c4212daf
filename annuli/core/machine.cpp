#include "annuli/core/machine.h"

#include <limits.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace annuli {
namespace {

// The value of the first line "KEY : value" of a file under /proc, or "".
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t end = line.find_last_not_of(" \t", colon - 1);
    if (end == std::string::npos || line.substr(0, end + 1) != key) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

bool has_flag(const std::string& flags, const std::string& flag) {
  return (" " + flags + " ").find(" " + flag + " ") != std::string::npos;
}

// /proc/meminfo counts in kB of 1024 bytes.
int64_t memory_bytes(const char* key) {
  const std::string value = proc_value("/proc/meminfo", key);
  return std::strtoll(value.c_str(), nullptr, 10) * 1024;
}

}  // namespace

Machine this_machine() {
  const std::string flags = proc_value("/proc/cpuinfo", "flags");
  return {.processor = proc_value("/proc/cpuinfo", "model name"),
          .hardware_threads = std::thread::hardware_concurrency(),
          .memory_bytes = memory_bytes("MemTotal"),
          .avx2 = has_flag(flags, "avx2"),
          .avx512f = has_flag(flags, "avx512f"),
          .avx512_bf16 = has_flag(flags, "avx512_bf16"),
          .amx_bf16 = has_flag(flags, "amx_bf16")};
}

int64_t available_memory_bytes() { return memory_bytes("MemAvailable"); }

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name = {};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "this host";
  return name.data();
}

}  // namespace annuli
