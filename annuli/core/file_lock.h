#pragma once

#include <filesystem>
#include <optional>

namespace annuli {

// A lock (flock) on a file or folder that is there, held as long as the object
// lives, and let go however the process ends. It keeps out those alone who ask
// for it too. Throws UserError if the path can't be opened or locked.
class FileLock {
 public:
  // Waits until nobody else holds it.
  explicit FileLock(const std::filesystem::path& path);
  // nullopt if somebody else holds it.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);
  // The same of an empty file, which is made if it is not there.
  static std::optional<FileLock> try_lock_file(
      const std::filesystem::path& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  static std::optional<FileLock> try_opened(const std::filesystem::path& path,
                                            int flags);

  int descriptor_ = -1;
};

}  // namespace annuli
