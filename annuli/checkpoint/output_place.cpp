#include "annuli/checkpoint/output_place.h"

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <vector>

#include "annuli/checkpoint/earlier_output.h"
#include "annuli/core/error.h"
#include "annuli/core/manifest.h"

namespace annuli {
namespace {

bool is_empty_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(fs::symlink_status(path, error)) &&
         fs::is_empty(path, error);
}

// --force is offered where it can help.
[[noreturn]] void refuse_present(const fs::path& path) {
  if (is_there(path / Manifest::kName) || is_there(path / "lineage.json")) {
    user_error(
        "writing the folder {}: it exists already; choose another name, or "
        "replace it with --force",
        path.string());
  }
  user_error(
      "writing the folder {}: it exists already, and annuli did not make it "
      "(it holds {}); choose another name",
      path.string(), paths_below(path).front());
}

bool is_copy(const fs::path& path, const fs::path& original) {
  constexpr uintmax_t kLargest = uintmax_t{64} << 20;  // that growth copies
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error)) &&
         fs::is_regular_file(original, error) &&
         fs::file_size(path, error) <= kLargest &&
         fs::file_size(path, error) == fs::file_size(original, error) &&
         read_file(path) == read_file(original);
}

}  // namespace

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

void check_output_name(const fs::path& path) {
  if (!path.has_filename() || path.filename() == "." ||
      path.filename() == "..") {
    user_error(
        "writing the folder '{}': expected a name for a new folder; try '{}'",
        path.string(), (path / "grown").lexically_normal().string());
  }
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    const fs::path target = fs::read_symlink(path, error);
    user_error(
        "writing the folder {}: it is a link to {}{}; remove the link, or "
        "choose another name",
        path.string(), target.string(),
        fs::exists(path, error) ? "" : ", which is not there");
  }
  if (is_there(path) && !fs::is_directory(path, error)) {
    user_error(
        "writing the folder {}: a file stands there, expected a new name; "
        "choose another",
        path.string());
  }
}

std::set<std::string> replaceable(const fs::path& path, bool replace,
                                  const InputPaths& inputs, const char* kind) {
  if (!is_there(path) || is_empty_folder(path)) return {};
  inputs.keep_out_of(path, "replacing " + path.string());
  if (!replace) refuse_present(path);
  const Manifest manifest = Manifest::load(path, kind);
  const std::set<std::string> earlier =
      manifest.empty() ? earlier_output(path) : std::set<std::string>();
  const auto is_ours = [&](const std::string& name) {
    return manifest.owns(path, name) || earlier.contains(name) ||
           std::ranges::any_of(inputs.folders(), [&](const fs::path& folder) {
             return is_copy(path / name, folder / name);
           });
  };
  if (const auto foreign = find_foreign(path, is_ours)) {
    user_error(
        "replacing {}: its {} is not what annuli wrote there; move it away, "
        "or choose another name",
        path.string(), *foreign);
  }
  const std::vector<std::string> names = paths_below(path);
  return {names.begin(), names.end()};
}

}  // namespace annuli
