#include "annuli/checkpoint/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr uint64_t kLocalSize = 30;
constexpr uint64_t kEntrySize = 46;
constexpr uint64_t kEndSize = 22;
constexpr uint64_t kEnd64Size = 56;
constexpr uint64_t kLocatorSize = 20;
constexpr uint64_t kMaxComment = 65535;
constexpr uint32_t kIn64 = 0xffffffff;  // "see the ZIP64 extra field"
constexpr uint16_t kExtra64 = 1;

// An entry of the central directory before its local header is read.
struct Entry {
  std::string name;
  uint64_t size = 0;
  uint64_t stored_size = 0;
  uint64_t header = 0;
  uint64_t next = 0;  // where the following entry begins
  uint32_t crc32 = 0;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  std::map<std::string, ZipMember> read() {
    const auto [begin, size, count] = find_directory();
    std::map<std::string, ZipMember> members;
    uint64_t at = begin;
    for (uint64_t i = 0; i < count; ++i) {
      const Entry entry = read_entry(at);
      at = entry.next;
      if (!members.emplace(entry.name, locate(entry)).second) {
        damaged("it holds '" + entry.name + "' twice");
      }
    }
    if (at != begin + size) damaged("its directory's size is wrong");
    check_overlaps(members);
    return members;
  }

 private:
  struct Directory {
    uint64_t begin;
    uint64_t size;
    uint64_t count;
  };

  [[noreturn]] void damaged(const std::string& what) const {
    user_error(
        "reading {}: as a zip archive, {}; it is damaged or not a .pt "
        "file",
        path_, what);
  }

  bool inside(uint64_t at, uint64_t size) const {
    return at <= bytes_.size() && size <= bytes_.size() - at;
  }

  // A little-endian number of T's width.
  template <typename T>
  T number(uint64_t at) const {
    if (!inside(at, sizeof(T))) damaged("it ends too early");
    T value = 0;
    for (size_t i = sizeof(T); i-- > 0;) {
      value = static_cast<T>(static_cast<uint64_t>(value) << 8 |
                             std::to_integer<uint64_t>(bytes_[at + i]));
    }
    return value;
  }

  // The end record stands last, before a comment of at most 64 KiB.
  uint64_t find_end() const {
    if (bytes_.size() < kEndSize) damaged("it is too short");
    const uint64_t last = bytes_.size() - kEndSize;
    for (uint64_t back = 0; back <= std::min(last, kMaxComment); ++back) {
      if (number<uint32_t>(last - back) == kEnd) return last - back;
    }
    damaged("it has no directory (truncated?)");
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    Directory directory{number<uint32_t>(end + 16), number<uint32_t>(end + 12),
                        number<uint16_t>(end + 10)};
    if (end >= kLocatorSize &&
        number<uint32_t>(end - kLocatorSize) == kEnd64Locator) {
      const auto at = number<uint64_t>(end - kLocatorSize + 8);
      if (!inside(at, kEnd64Size) || number<uint32_t>(at) != kEnd64) {
        damaged("its ZIP64 end record is missing");
      }
      directory = {number<uint64_t>(at + 48), number<uint64_t>(at + 40),
                   number<uint64_t>(at + 32)};
    }
    if (!inside(directory.begin, directory.size) ||
        directory.count > directory.size / kEntrySize) {
      damaged("its directory lies outside the file");
    }
    return directory;
  }

  Entry read_entry(uint64_t at) const {
    if (number<uint32_t>(at) != kDirectoryEntry) {
      damaged("its directory is broken");
    }
    const auto name_size = number<uint16_t>(at + 28);
    const auto extra_size = number<uint16_t>(at + 30);
    const auto comment_size = number<uint16_t>(at + 32);
    Entry entry;
    entry.name = text(at + kEntrySize, name_size);
    entry.crc32 = number<uint32_t>(at + 16);
    entry.stored_size = number<uint32_t>(at + 20);
    entry.size = number<uint32_t>(at + 24);
    entry.header = number<uint32_t>(at + 42);
    const uint64_t extra = at + kEntrySize + name_size;
    read_zip64(extra, extra + extra_size, entry);
    entry.next = extra + extra_size + comment_size;
    const bool stored = number<uint16_t>(at + 10) == 0 &&
                        entry.size == entry.stored_size &&
                        (number<uint16_t>(at + 8) & 1) == 0;
    if (!stored) {
      damaged("its member '" + entry.name + "' is compressed or encrypted");
    }
    return entry;
  }

  // Replaces the sizes that did not fit 32 bits.
  void read_zip64(uint64_t at, uint64_t end, Entry& entry) const {
    while (at + 4 <= end) {
      const auto id = number<uint16_t>(at);
      const auto size = number<uint16_t>(at + 2);
      at += 4;
      if (id == kExtra64) {
        uint64_t field = at;
        for (uint64_t* value :
             {&entry.size, &entry.stored_size, &entry.header}) {
          if (*value != kIn64) continue;
          if (field + 8 > at + size) damaged("a ZIP64 field is too short");
          *value = number<uint64_t>(field);
          field += 8;
        }
        return;
      }
      at += size;
    }
  }

  std::string text(uint64_t at, uint64_t size) const {
    if (!inside(at, size)) damaged("it ends too early");
    return {reinterpret_cast<const char*>(bytes_.data()) + at, size};
  }

  ZipMember locate(const Entry& entry) const {
    if (!inside(entry.header, kLocalSize) ||
        number<uint32_t>(entry.header) != kLocalHeader) {
      damaged("its member '" + entry.name + "' has no header");
    }
    const auto name_size = number<uint16_t>(entry.header + 26);
    const auto extra_size = number<uint16_t>(entry.header + 28);
    if (text(entry.header + kLocalSize, name_size) != entry.name) {
      damaged("its member '" + entry.name + "' bears another name");
    }
    const uint64_t data = entry.header + kLocalSize + name_size + extra_size;
    if (!inside(data, entry.size)) {
      damaged("its member '" + entry.name + "' reaches beyond the end");
    }
    return {static_cast<int64_t>(data), static_cast<int64_t>(entry.size),
            entry.crc32};
  }

  void check_overlaps(const std::map<std::string, ZipMember>& members) const {
    std::vector<std::pair<int64_t, int64_t>> ranges;  // begin, end
    for (const auto& [name, member] : members) {
      if (member.bytes == 0) continue;
      ranges.emplace_back(member.offset, member.offset + member.bytes);
    }
    std::ranges::sort(ranges);
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) {
        damaged("two members share bytes");
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
};

}  // namespace

std::map<std::string, ZipMember> zip_directory(std::span<const std::byte> bytes,
                                               const std::string& path) {
  return ZipReader(bytes, path).read();
}

uint32_t crc32_of(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace annuli
