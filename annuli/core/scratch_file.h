#pragma once

#include <cstddef>
#include <cstdint>

// A file without a name for what would be too large in memory: it is gone when
// the object or the process is.
//
// It lies in $TMPDIR, or in /var/tmp, which unlike /tmp is never memory. What
// is appended is read back by its offset. Failures (a full disk) are a
// UserError. Move-only.
namespace annuli {

class ScratchFile {
 public:
  ScratchFile();
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;

  // Where the bytes begin.
  int64_t append(const void* data, size_t size);
  void read(int64_t offset, void* data, size_t size) const;

 private:
  int descriptor_ = -1;
  int64_t end_ = 0;
};

}  // namespace annuli
