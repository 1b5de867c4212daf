#include "annuli/run/run_folder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "annuli/checkpoint/output_place.h"
#include "annuli/checkpoint/state_folder.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/tilde.h"
#include "annuli/run/event_log.h"
#include "annuli/run/run_names.h"

namespace annuli::run {
namespace {

constexpr const char* kKind = "run";
constexpr const char* kPlan = "plan.yaml";
constexpr const char* kStates = "state/";
// The folders that a run makes and has for itself.
constexpr std::array<const char*, 4> kFolders = {"checkpoints", "verify",
                                                 "samples", "state"};

Manifest known_files(const fs::path& root) {
  Manifest manifest = Manifest::load(root, kKind);
  if (!manifest.empty()) return manifest;
  for (const std::string& name : names_of_earlier_run(root)) {
    manifest.add_name(name);
  }
  return manifest;
}

// What lies in those four folders, as paths below the root.
std::vector<std::string> paths_in_folders(const fs::path& root) {
  std::vector<std::string> paths;
  for (const std::string folder : kFolders) {
    std::error_code error;
    if (!fs::is_directory(root / folder, error)) continue;
    for (const std::string& path : paths_below(root / folder)) {
      paths.push_back(folder + "/" + path);
    }
  }
  return paths;
}

}  // namespace

RunFolder::RunFolder(fs::path root, std::set<std::string> names,
                     const InputPaths& inputs, Claim claim,
                     const parallel::ProcessGroup& group)
    : root_(std::move(root)),
      names_(std::move(names)),
      claim_(claim),
      is_writer_(group.is_first()),
      manifest_(known_files(root_)) {
  if (!is_writer_) return;
  refuse_tilde(root_, "running in");
  refuse_foreign();
  keep(inputs);
  make_folders();
  lock();
}

bool RunFolder::is_ours(const std::string& path) const {
  if (path.starts_with(kStates)) {
    return !manifest_.empty() &&
           is_state_path(path.substr(std::strlen(kStates)));
  }
  if (manifest_.owns(root_, path)) return true;
  // What a killed run left beside it.
  const size_t temporary = path.rfind(".tmp-");
  return temporary != path.npos && manifest_.lists(path.substr(0, temporary));
}

void RunFolder::refuse_foreign() const {
  std::vector<std::string> paths = paths_in_folders(root_);
  // Other files in a run's own folders are in nobody's way, but among states.
  if (claim_ == Claim::kAdd && !manifest_.empty()) {
    std::erase_if(paths, [](const std::string& path) {
      return !path.starts_with(kStates);
    });
  }
  for (const std::string& name : names_) {
    if (is_there(root_ / name)) paths.push_back(name);
  }
  // Another kind of folder, such as a model that was grown.
  if (manifest_.empty() && is_there(root_ / Manifest::kName)) {
    paths.push_back(Manifest::kName);
  }
  for (const std::string& path : paths) {
    if (path != Manifest::kName && is_ours(path)) continue;
    user_error(
        "running in {}: its {} was not made by a run there, and would be in "
        "the way; move it away, or choose another folder with --out",
        root_.string(), path);
  }
}

void RunFolder::keep(const InputPaths& inputs) const {
  std::set<std::string> touched = names_;
  if (claim_ == Claim::kReplace)
    touched.insert(kFolders.begin(), kFolders.end());
  // A run may go on from the plan that it wrote.
  if (claim_ == Claim::kAdd && manifest_.owns(root_, kPlan)) {
    touched.erase(kPlan);
  }
  for (const std::string& name : touched) {
    inputs.keep_out_of(root_ / name, "running in " + root_.string());
  }
}

void RunFolder::make_folders() const {
  std::error_code error;
  for (const char* folder : {"checkpoints", "verify", "samples"}) {
    fs::create_directories(root_ / folder, error);
    if (error) {
      user_error("making the run folder {}: {}; choose another with --out",
                 (root_ / folder).string(), error.message());
    }
  }
}

void RunFolder::lock() {
  std::optional<FileLock> lock = FileLock::try_lock_file(root_ / ".lock");
  if (!lock) {
    user_error(
        "locking {}: another run is writing this folder; wait for it, "
        "or choose another with --out",
        root_.string());
  }
  lock_.emplace(std::move(*lock));
}

bool RunFolder::is_begun() const {
  return std::ranges::any_of(names_,
                             [&](const std::string& name) {
                               return name != kPlan && is_there(root_ / name);
                             }) ||
         is_there(history());
}

void RunFolder::remove_leftovers() {
  if (!is_writer_) return;
  for (const char* folder : {"", "checkpoints", "verify", "samples"}) {
    remove_temporaries(root_ / folder);
  }
  remove_unfinished_states(state());
}

void RunFolder::claim() {
  if (!is_writer_) return;
  if (claim_ == Claim::kReplace) clear();
  for (const std::string& name : names_) manifest_.add_name(name);
  manifest_.save(root_);
}

// The summary goes first: a run that has it is finished.
void RunFolder::clear() {
  std::error_code error;
  if (is_ours("summary.json")) fs::remove(summary(), error);
  remove_ours(state(),
              [](const std::string& path) { return is_state_path(path); });
  for (const std::string& path : paths_in_folders(root_)) {
    if (is_ours(path)) fs::remove(root_ / path, error);
  }
  for (const fs::path& file :
       {lineage(), sessions(), history(), plan(), root_ / "profile.json"}) {
    const std::string name = file.filename().string();
    if (is_ours(name)) fs::remove(file, error);
  }
  if (!manifest_.empty()) {
    for (const fs::path& file : event_files(root_)) fs::remove(file, error);
    fs::remove(event_folder(root_), error);  // if it is empty
  }
  manifest_ = Manifest(kKind);
}

}  // namespace annuli::run
