#include "annuli/watch/history_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::watch {
namespace {

constexpr size_t kRemembered = 4096;
constexpr int64_t kNanoseconds = 1'000'000'000;
constexpr int64_t kPiece = int64_t{1} << 20;

class ReadOnly {
 public:
  explicit ReadOnly(const std::filesystem::path& path)
      : path_(path),
        descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) refuse();
  }
  ~ReadOnly() { ::close(descriptor_); }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;

  // Up to so many bytes; fewer only at the file's end.
  std::string bytes(int64_t from, int64_t most) const {
    std::string text(static_cast<size_t>(most), '\0');
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t n =
          ::pread(descriptor_, text.data() + done, text.size() - done,
                  from + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) refuse();
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    text.resize(done);
    return text;
  }

 private:
  [[noreturn]] void refuse() const {
    user_error("reading the history {}: {}", path_.string(),
               std::strerror(errno));
  }

  const std::filesystem::path& path_;
  int descriptor_;
};

}  // namespace

HistoryTail::HistoryTail(std::filesystem::path path) : path_(std::move(path)) {}

HistoryTail::Mark HistoryTail::mark() const {
  struct stat now = {};
  if (::stat(path_.c_str(), &now) != 0 || !S_ISREG(now.st_mode)) return {};
  return {.device = now.st_dev,
          .inode = now.st_ino,
          .size = now.st_size,
          .changed = now.st_mtim.tv_sec * kNanoseconds + now.st_mtim.tv_nsec};
}

// A shorter file has less there.
bool HistoryTail::holds_what_was_read() const {
  const auto size = static_cast<int64_t>(last_.size());
  return ReadOnly(path_).bytes(offset_ - size, size) == last_;
}

HistoryTail::State HistoryTail::look() {
  const Mark now = mark();
  if (now == seen_) return State::kSame;
  const bool first = seen_.size < 0 && offset_ == 0;
  const bool replaced = now.device != seen_.device || now.inode != seen_.inode;
  const bool goes_on = first || (!replaced && holds_what_was_read());
  seen_ = now;
  if (goes_on) return State::kMore;
  offset_ = 0;
  lines_ = 0;
  last_.clear();
  torn_ = false;
  return State::kAnew;
}

void HistoryTail::read(const std::function<void(std::string_view)>& visit) {
  torn_ = false;
  if (seen_.size < 0) return;
  const ReadOnly file(path_);
  for (int64_t most = kPiece;;) {
    const std::string piece = file.bytes(offset_, most);
    size_t begin = 0;
    for (size_t end = 0; (end = piece.find('\n', begin)) != piece.npos;) {
      const auto line = std::string_view(piece).substr(begin, end - begin);
      visit(line);
      take(std::string_view(piece).substr(begin, end + 1 - begin));
      begin = end + 1;
    }
    torn_ = begin < piece.size();
    if (std::cmp_less(piece.size(), most)) return;
    if (begin > 0) continue;
    if (most > kLongestLine) {
      user_error(
          "reading the history {}: line {} does not end within {} bytes; is it "
          "of an Annuli run?",
          path_.string(), lines_ + 1, kLongestLine);
    }
    most *= 2;
  }
}

double HistoryTail::age() const {
  if (seen_.size < 0) return 0;
  struct timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t passed =
      now.tv_sec * kNanoseconds + now.tv_nsec - seen_.changed;
  return static_cast<double>(std::max<int64_t>(passed, 0)) / kNanoseconds;
}

void HistoryTail::take(std::string_view line) {
  offset_ += static_cast<int64_t>(line.size());
  ++lines_;
  last_ += line.substr(line.size() - std::min(line.size(), kRemembered));
  if (last_.size() > 2 * kRemembered) {
    last_.erase(0, last_.size() - kRemembered);
  }
}

}  // namespace annuli::watch
