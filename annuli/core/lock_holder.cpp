#include "annuli/core/lock_holder.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#include <sstream>
#include <string>

namespace annuli {

// A line: "1: FLOCK  ADVISORY  WRITE 1696 fe:00:10962805 0 EOF"; what waits for
// a lock has "->" behind the number. Device numbers are in base 16.
std::optional<int64_t> lock_holder(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  const std::string file = fmt::format("{:02x}:{:02x}:{}", major(status.st_dev),
                                       minor(status.st_dev), status.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string mode;
    std::string access;
    std::string place;
    int64_t process = 0;
    words >> number >> kind >> mode >> access >> process >> place;
    if (words && kind == "FLOCK" && place == file && process > 0) {
      return process;
    }
  }
  return std::nullopt;
}

}  // namespace annuli
