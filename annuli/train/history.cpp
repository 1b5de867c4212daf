#include "annuli/train/history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli::train {

History::History(std::filesystem::path path, int64_t bytes)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)),
      bytes_(bytes) {
  if (descriptor_ < 0) {
    user_error("opening the history {}: {}", path_.string(),
               std::strerror(errno));
  }
  const int64_t present = ::lseek(descriptor_, 0, SEEK_END);
  if (present < bytes || ::ftruncate(descriptor_, bytes) != 0 ||
      ::lseek(descriptor_, 0, SEEK_END) != bytes) {
    ::close(descriptor_);
    user_error(
        "cutting the history {} back to {} bytes: it has {}; start "
        "again with --force",
        path_.string(), bytes, present);
  }
}

History::~History() { ::close(descriptor_); }

void History::append(const nlohmann::json& record) {
  const std::string line = record.dump() + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n =
        ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      user_error("writing the history {}: {}", path_.string(),
                 std::strerror(errno));
    }
    done += static_cast<size_t>(n);
  }
  bytes_ += static_cast<int64_t>(line.size());
}

void History::sync() {
  if (::fsync(descriptor_) == 0) return;
  user_error("writing the history {}: {}", path_.string(),
             std::strerror(errno));
}

std::vector<nlohmann::json> read_history(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<nlohmann::json> records;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    try {
      records.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
    } catch (const nlohmann::json::exception&) {
      user_error("reading the history {}: line {} is not JSON", path.string(),
                 records.size() + 1);
    }
    begin = end + 1;
  }
  return records;
}

}  // namespace annuli::train
