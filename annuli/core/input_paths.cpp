#include "annuli/core/input_paths.h"

#include <sys/stat.h>

#include <optional>
#include <system_error>

#include "annuli/core/error.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // as the system's own limit

std::optional<std::pair<dev_t, ino_t>> id_of_folder(const fs::path& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return std::nullopt;
  }
  return std::pair(status.st_dev, status.st_ino);
}

}  // namespace

fs::path InputPaths::walk(const fs::path& start, const fs::path& path,
                          Input& input, int links) {
  fs::path place = path.is_absolute() ? fs::path("/") : start;
  for (const fs::path& part : path.relative_path()) {
    const auto folder = id_of_folder(place);
    if (!folder) return place;  // a file, or nothing
    input.folders.insert(*folder);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      place = place.parent_path();
      continue;
    }
    input.names.emplace(*folder, part.string());
    std::error_code error;
    const fs::path target = fs::read_symlink(place / part, error);
    if (error || links == kMostLinks) {
      place /= part;
    } else {
      place = walk(place, target, input, ++links);
    }
  }
  if (const auto folder = id_of_folder(place)) input.folders.insert(*folder);
  return place;
}

void InputPaths::add(const std::string& what, const fs::path& path) {
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) return;
  Input input{.what = what, .path = path};
  const fs::path place = walk("/", fs::absolute(path, error), input, 0);
  if (fs::is_directory(path, error)) {
    folders_.push_back(path);
    for (const auto& item : fs::directory_iterator(path, error)) {
      if (item.is_symlink(error) && item.is_regular_file(error)) {
        walk("/", place / item.path().filename(), input, 0);
      }
    }
  }
  inputs_.push_back(std::move(input));
}

void InputPaths::keep_out_of(const fs::path& target,
                             const std::string& doing) const {
  std::error_code error;
  const auto folder = id_of_folder(target);
  const fs::path full = fs::absolute(target, error).lexically_normal();
  const auto holder = id_of_folder(full.parent_path());
  if (!fs::exists(fs::symlink_status(target, error))) return;
  for (const Input& input : inputs_) {
    const bool is_it =
        holder && input.names.contains({*holder, full.filename().string()});
    if (!is_it && !(folder && input.folders.contains(*folder))) continue;
    user_error(
        "{}: {} {} is read, and it is {} or lies in it or is reached through "
        "it; choose another place to write",
        doing, input.what, input.path.string(), target.string());
  }
}

}  // namespace annuli
