#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

// The end of a growing file of lines, read piece by piece while another process
// writes it. The file is opened for reading only, and not kept open; no lock is
// taken or asked for.
//
// Guarantees: the lines that `read` has given since `look` last said kAnew are
// the beginning of the file as it stood at some moment. A file that was cut
// back, replaced or removed, and one that was cut back and has grown beyond its
// old size since, are seen: by its length, its inode, and the last 4 kB of what
// was read. A last line without an end is left for later.
namespace annuli::watch {

class HistoryTail {
 public:
  // No line of a history comes near.
  static constexpr int64_t kLongestLine = int64_t{1} << 24;

  explicit HistoryTail(std::filesystem::path path);

  enum class State {
    kSame,  // nothing to read
    kMore,  // something was added
    kAnew,  // what was read is no more; it will be read from its beginning
  };
  // UserError for a file that can't be opened.
  State look();

  // Gives the whole lines that follow, without their ends; what `visit` throws
  // leaves its line and all after it unread. UserError for a file that can't be
  // read and for a line that does not end.
  void read(const std::function<void(std::string_view)>& visit);

  bool is_torn() const { return torn_; }
  int64_t bytes_read() const { return offset_; }
  size_t lines_read() const { return lines_; }
  // How long before the last look the file was written; 0 if there is none.
  double age() const;

 private:
  // What tells one state of the file from another.
  struct Mark {
    dev_t device = 0;
    ino_t inode = 0;
    int64_t size = -1;  // there is no file
    int64_t changed = 0;
    bool operator==(const Mark&) const = default;
  };
  Mark mark() const;
  bool holds_what_was_read() const;
  void take(std::string_view line);

  std::filesystem::path path_;
  Mark seen_;
  int64_t offset_ = 0;
  size_t lines_ = 0;
  std::string last_;  // what stands right before `offset_`
  bool torn_ = false;
};

}  // namespace annuli::watch
