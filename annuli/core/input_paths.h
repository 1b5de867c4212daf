#pragma once

#include <sys/types.h>

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

// Every file and folder that a command reads, so that nothing which it replaces
// is among them.
//
// A path stands for all that it passes through: the folders on the way, links
// and what they point to, `..` as the system takes it. Folders are told by
// device and inode, so that another spelling, a link or a second mount makes no
// difference. A folder also stands for the links right in it, as those of the
// Hugging Face cache, which lead to its files.
//
// Corner cases: a path that does not exist adds nothing (who reads it says so).
// A second hard link of a file is a file of its own: it outlives the first.
namespace annuli {

class InputPaths {
 public:
  // `what` names the input in a refusal: "the parent", "--text".
  void add(const std::string& what, const std::filesystem::path& path);

  // UserError "DOING: WHAT PATH lies in TARGET ..." if an input is `target`,
  // lies in it or is reached by way of it. Nothing if `target` is not there.
  void keep_out_of(const std::filesystem::path& target,
                   const std::string& doing) const;

  // The inputs that are folders.
  const std::vector<std::filesystem::path>& folders() const { return folders_; }

 private:
  using FileId = std::pair<dev_t, ino_t>;
  struct Input {
    std::string what;
    std::filesystem::path path;
    std::set<FileId> folders;                        // passed through, or it
    std::set<std::pair<FileId, std::string>> names;  // in which folder, what
  };

  // Follows `path` from `start`, a folder without links; returns where it ends.
  static std::filesystem::path walk(const std::filesystem::path& start,
                                    const std::filesystem::path& path,
                                    Input& input, int links);

  std::vector<Input> inputs_;
  std::vector<std::filesystem::path> folders_;
};

}  // namespace annuli
