#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"

// Which files in a folder this program made: `.annuli-files.json` in it. By it
// the folder can be replaced without harm to what somebody else put there.
//
// State: what the folder is ("model", "run"); for each file its path below the
// folder, with `/`, and, where it was whole when it was noted, its size and a
// hash of its first and last 64 KiB. A file that was changed since is no more
// ours; one that is noted by its name alone (a run's, which are still to be
// written) is ours whatever is in it.
namespace annuli {

class Manifest {
 public:
  static constexpr const char* kName = ".annuli-files.json";

  explicit Manifest(std::string of) : of_(std::move(of)) {}

  // Empty if the folder has none, or one of another kind of folder; UserError
  // if it is none that we write.
  static Manifest load(const std::filesystem::path& folder,
                       const std::string& of);
  void save(const std::filesystem::path& folder) const;  // atomically

  void add_name(const std::string& name);
  void add_file(const std::filesystem::path& folder, const std::string& name);

  bool empty() const { return files_.empty(); }
  bool lists(const std::string& name) const { return files_.contains(name); }
  // Listed, there, and not changed since.
  bool owns(const std::filesystem::path& folder, const std::string& name) const;

 private:
  std::string of_;
  std::map<std::string, Json> files_;  // null, or {"bytes", "sha256_of_ends"}
};

// The paths, below the folder, of all that lies in it: files, links (which are
// not followed) and, with a `/` at the end, folders that are empty. Sorted.
// None of a folder that is not there.
std::vector<std::string> paths_below(const std::filesystem::path& folder);

// The first of those that is not ours.
using IsOurs = std::function<bool(const std::string& path)>;
std::optional<std::string> find_foreign(const std::filesystem::path& folder,
                                        const IsOurs& is_ours);

// Removes those that are ours and the folders in it that this leaves empty, the
// manifest last, so that one who is killed meanwhile leaves what can be told to
// be ours.
void remove_ours(const std::filesystem::path& folder, const IsOurs& is_ours);

}  // namespace annuli
