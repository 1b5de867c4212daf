#pragma once

#include <mutex>
#include <string>

#include "annuli/core/file.h"
#include "annuli/core/input_paths.h"

// A folder that appears whole or not at all, and that replaces only what this
// program made.
//
// Files are written into `<path>.tmp-<pid>` beside it; `commit` adds a manifest
// (core/manifest.h), syncs them and gives the folder its name in one step. An
// object destroyed before leaves nothing, whatever happened, the missing
// folders above `path` included. What a killed process left there (nobody holds
// its lock, and a mark or a manifest in it says that it is ours) is removed by
// the next OutputFolder of that path.
//
// Corner cases: an empty folder at `path` is taken. Any other is refused, or
// with `replace` exchanged in one step and then removed, if everything in it is
// ours: by its manifest; where it has none, by what an earlier version left
// (earlier_output.h); or as a copy of a file right in an input's folder. A file
// that comes into it at the last moment stays, in `<path>.tmp-<pid>`. Nothing
// is replaced that an input lies in or is reached through. Not for two writers
// of one path: the later commit is refused.
namespace annuli {

class OutputFolder {
 public:
  OutputFolder(const fs::path& path, bool replace, InputPaths inputs = {});
  // A folder for the parts of a file `path` that is still to be made; it goes
  // with the object and is never committed.
  explicit OutputFolder(const fs::path& path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const fs::path& path() const { return path_; }         // the name it will get
  const fs::path& folder() const { return temporary_; }  // where to write

  // Adds a file that was put into a committed folder to what is ours there.
  static void add_file(const fs::path& folder, const std::string& name);

  // UserError if the file system has no room for `bytes`.
  void require_space(int64_t bytes) const;

  void commit();
  // Removes what was written, also while other threads still write; nothing
  // after `commit`. Safe to call from any thread.
  void discard() noexcept;

 private:
  void begin();
  void make_parents();
  void make_temporary();
  void remove_leftovers() const;
  void list_files() const;

  fs::path path_;
  fs::path temporary_;
  fs::path made_;  // the first of the missing folders above
  bool replace_;
  InputPaths inputs_;
  int lock_ = -1;
  std::mutex mutex_;
  bool done_ = false;
};

}  // namespace annuli
