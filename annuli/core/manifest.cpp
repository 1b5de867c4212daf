#include "annuli/core/manifest.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/hash.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 1;
constexpr int64_t kEnd = int64_t{64} << 10;

// Weights that were trained on, or saved again, differ in both.
Json fingerprint(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const auto bytes = static_cast<int64_t>(fs::file_size(path));
  Sha256 hash;
  std::string piece;
  const auto read = [&](int64_t from, int64_t size) {
    piece.resize(static_cast<size_t>(size));
    if (!file.seekg(from) || !file.read(piece.data(), size)) {
      user_error("reading {}: it cannot be read whole", path.string());
    }
    hash.update(piece);
  };
  read(0, std::min(bytes, kEnd));
  if (bytes > kEnd)
    read(std::max(kEnd, bytes - kEnd), std::min(kEnd, bytes - kEnd));
  return {{"bytes", bytes}, {"sha256_of_ends", hash.hex()}};
}

void add_paths(const fs::path& folder, const std::string& prefix,
               std::vector<std::string>& paths) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const std::string path = prefix + item.path().filename().string();
    if (item.is_symlink(error) || !item.is_directory(error)) {
      paths.push_back(path);
    } else if (fs::is_empty(item.path(), error)) {
      paths.push_back(path + "/");
    } else {
      add_paths(item.path(), path + "/", paths);
    }
  }
  if (error)
    user_error("looking into {}: {}", folder.string(), error.message());
}

}  // namespace

Manifest Manifest::load(const fs::path& folder, const std::string& of) {
  Manifest manifest(of);
  const fs::path path = folder / kName;
  std::error_code error;
  if (!fs::exists(path, error)) return manifest;
  const Json json = read_json(path);
  try {
    if (json.at("format_version") != kFormatVersion) {
      user_error("reading {}: found format_version {}, expected {}",
                 path.string(), json.at("format_version").dump(),
                 kFormatVersion);
    }
    if (json.at("of").get<std::string>() != of) return manifest;
    manifest.files_ = json.at("files").get<std::map<std::string, Json>>();
  } catch (const Json::exception& reason) {
    user_error("reading {}: it is not what annuli writes: {}", path.string(),
               reason_of(reason));
  }
  return manifest;
}

void Manifest::save(const fs::path& folder) const {
  write_json(
      folder / kName,
      {{"format_version", kFormatVersion}, {"of", of_}, {"files", files_}});
}

void Manifest::add_name(const std::string& name) { files_[name] = nullptr; }

void Manifest::add_file(const fs::path& folder, const std::string& name) {
  files_[name] = fingerprint(folder / name);
}

bool Manifest::owns(const fs::path& folder, const std::string& name) const {
  if (name == kName) return true;
  const auto found = files_.find(name);
  if (found == files_.end()) return false;
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(folder / name, error))) {
    return false;
  }
  return found->second.is_null() || found->second == fingerprint(folder / name);
}

std::vector<std::string> paths_below(const fs::path& folder) {
  std::vector<std::string> paths;
  if (fs::exists(folder)) add_paths(folder, "", paths);
  std::ranges::sort(paths);
  return paths;
}

std::optional<std::string> find_foreign(const fs::path& folder,
                                        const IsOurs& is_ours) {
  for (const std::string& path : paths_below(folder)) {
    if (!is_ours(path)) return path;
  }
  return std::nullopt;
}

void remove_ours(const fs::path& folder, const IsOurs& is_ours) {
  std::vector<std::string> paths = paths_below(folder);
  std::erase_if(paths, [&](const std::string& path) { return !is_ours(path); });
  // The manifest, by which the others are known, goes last.
  std::stable_partition(
      paths.begin(), paths.end(),
      [](const std::string& path) { return path != Manifest::kName; });
  std::error_code error;
  for (const std::string& path : paths) {
    fs::remove(folder / path, error);
    for (fs::path above = fs::path(path).parent_path(); !above.empty();
         above = above.parent_path()) {
      if (!fs::remove(folder / above, error)) break;
    }
  }
}

}  // namespace annuli
