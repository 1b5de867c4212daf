#pragma once

#include <mutex>
#include <string>

#include "annuli/core/file.h"

// A folder that appears whole or not at all.
//
// Files are written into `<path>.tmp-<pid>` beside it; `commit` syncs them and
// gives the folder its name in one step. An object destroyed before leaves
// nothing, whatever happened. What a killed process left there (nobody holds
// its lock) is removed by the next OutputFolder of that path.
//
// Corner cases: an existing `path` is refused, or with `replace` exchanged in
// one step and then removed, if it is a model folder (it holds a config.json)
// or empty. Not for two writers of one path: the later commit is refused.
namespace annuli {

class OutputFolder {
 public:
  OutputFolder(const fs::path& path, bool replace);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const fs::path& path() const { return path_; }         // the name it will get
  const fs::path& folder() const { return temporary_; }  // where to write

  // UserError if the file system has no room for `bytes`.
  void require_space(int64_t bytes) const;

  void commit();
  // Removes what was written, also while other threads still write; nothing
  // after `commit`. Safe to call from any thread.
  void discard() noexcept;

 private:
  void remove_leftovers() const;

  fs::path path_;
  fs::path temporary_;
  bool replace_;
  int lock_ = -1;
  std::mutex mutex_;
  bool done_ = false;
};

}  // namespace annuli
