#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

// Files: whole reads, mappings, and writes that are never half-done.
// Every failure is a UserError that names the path and the system's reason.
namespace annuli {

namespace fs = std::filesystem;

// Whether a file stands there, or a link to one.
bool is_file(const fs::path& path);

std::string read_file(const fs::path& path);

// Makes the names in a folder survive a loss of power.
void sync_folder(const fs::path& folder);

// Makes what was written into a file survive it.
void sync_file(const fs::path& path);

// Writes to a temporary name beside `path`, syncs it, renames it over `path`
// and syncs the folder. `path` holds the old content or the new, never a part;
// on failure the temporary file is removed.
void write_file_atomically(const fs::path& path, std::string_view content);

// Removes the temporary files in a folder that writers left who are no more: a
// writer holds a lock on its file as long as it lives.
void remove_temporaries(const fs::path& folder);

// What write_file_atomically does, for content that comes piece by piece.
// Move-only; a writer destroyed before `commit` leaves nothing behind, one that
// was killed a file for `remove_temporaries`.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);
  ~AtomicFile();
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // Waits until what was written is on the disk; `commit` does so too.
  void sync();
  int64_t position() const { return position_; }

  // Replaces bytes written before: a header whose counts are known last.
  void overwrite(int64_t offset, const void* data, size_t size);
  void commit();

 private:
  void start_writing_out();

  fs::path path_;
  fs::path temporary_;
  int descriptor_ = -1;
  int64_t position_ = 0;
  int64_t started_ = 0;  // bytes that the system was told to write out
};

// A read-only mapping of a whole file; empty files map to an empty span.
class MappedFile {
 public:
  explicit MappedFile(fs::path path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const fs::path& path() const { return path_; }

  // Takes the pages read so far out of the process's resident memory, as a
  // scan of the whole file should; the next access maps them again.
  void drop_resident() const;

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace annuli
