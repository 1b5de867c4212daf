#include "annuli/checkpoint/training_state.h"

#include <fcntl.h>
#include <stdio.h>

#include <system_error>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 1;
constexpr const char* kState = "state.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kTemporary = ".tmp-";

// A folder with a state.json that speaks of it; `fault` is empty if the files
// beside it are as it says. state.json is written last, so a folder without it
// is a save that was interrupted, and no candidate at all.
struct Candidate {
  fs::path folder;
  Json state{};
  int64_t sequence = -1;  // counts saves; the newest is the largest
  std::string fault{};
};

fs::path parent_of(const fs::path& folder) {
  return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
}

// The folder itself and what saves may have left beside it.
std::vector<fs::path> possible_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  if (fs::is_directory(folder, error)) folders.push_back(folder);
  const std::string prefix = folder.filename().string() + kTemporary;
  for (const auto& item : fs::directory_iterator(parent_of(folder), error)) {
    if (item.path().filename().string().starts_with(prefix)) {
      folders.push_back(item.path());
    }
  }
  return folders;
}

std::string size_fault(const fs::path& folder, const Json& state) {
  for (const char* name : {kModel, kOptimizer}) {
    const auto expected = state.at("files").at(name).at("bytes").get<int64_t>();
    std::error_code error;
    const auto size = fs::file_size(folder / name, error);
    if (error) return fmt::format("{} is missing", name);
    if (std::cmp_not_equal(size, expected)) {
      return fmt::format("{} has {} bytes, expected {}", name, size, expected);
    }
  }
  return "";
}

Candidate examine(const fs::path& folder) {
  Candidate candidate{.folder = folder};
  try {
    candidate.state = read_json(folder / kState);
    const Json& version = candidate.state.at("format_version");
    if (version != kFormatVersion) {
      candidate.fault = fmt::format("format_version {}, expected {}",
                                    version.dump(), kFormatVersion);
      return candidate;
    }
    candidate.sequence = candidate.state.at("sequence").get<int64_t>();
    candidate.state.at("progress");
    candidate.fault = size_fault(folder, candidate.state);
  } catch (const UserError& error) {
    candidate.fault = error.what();
  } catch (const Json::exception& error) {
    candidate.fault = fmt::format("{}: {}", kState, error.what());
  }
  return candidate;
}

// The newest whole state; nothing if there was never one; UserError if all
// that is left is damaged.
std::optional<Candidate> find_newest(const fs::path& folder) {
  std::optional<Candidate> newest;
  std::string fault;
  for (const fs::path& possible : possible_folders(folder)) {
    std::error_code error;
    if (!fs::exists(possible / kState, error)) {
      if (possible == folder) fault = fmt::format("{} is missing", kState);
      continue;
    }
    Candidate candidate = examine(possible);
    if (!candidate.fault.empty()) {
      fault = candidate.fault;
    } else if (!newest || candidate.sequence > newest->sequence) {
      newest = std::move(candidate);
    }
  }
  if (!newest && !fault.empty()) {
    user_error(
        "reading the training state {}: {}; it is damaged, remove it "
        "to start anew",
        folder.string(), fault);
  }
  return newest;
}

Json write_tensors(const fs::path& path,
                   const std::vector<NamedTensor>& tensors) {
  write_safetensors(path, tensors);
  return {{"bytes", fs::file_size(path)},
          {"content_hash", content_hash(tensors)}};
}

void write_state(const fs::path& folder, const TrainingState& state,
                 int64_t sequence) {
  Json json = {{"format_version", kFormatVersion},
               {"sequence", sequence},
               {"progress", state.progress}};
  json["files"][kModel] = write_tensors(folder / kModel, state.weights);
  json["files"][kOptimizer] =
      write_tensors(folder / kOptimizer, state.optimizer);
  write_json(folder / kState, json);
  sync_folder(folder);
}

// Gives `made` the name `folder`. Where the file system cannot exchange two
// names in one step, the previous state stands aside for a moment, under a
// name that the reader finds too.
void exchange(const fs::path& made, const fs::path& folder) {
  if (!fs::exists(folder)) {
    fs::rename(made, folder);
  } else if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(),
                       RENAME_EXCHANGE) != 0) {
    fs::path aside = folder;
    aside += std::string(kTemporary) + "previous";
    fs::remove_all(aside);
    fs::rename(folder, aside);
    fs::rename(made, folder);
  }
  sync_folder(parent_of(folder));
}

std::vector<NamedTensor> read_tensors(const Candidate& candidate,
                                      const char* name) {
  const SafetensorsFile file(candidate.folder / name);
  std::vector<NamedTensor> tensors;
  for (const TensorEntry& entry : file.entries()) {
    tensors.push_back({entry.name, file.copy(entry.name)});
  }
  const Json& expected =
      candidate.state.at("files").at(name).at("content_hash");
  if (content_hash(tensors) != expected) {
    user_error(
        "reading the training state {}: {} is not what was written "
        "(its content hash differs); it is damaged, remove it to start "
        "anew",
        candidate.folder.string(), name);
  }
  return tensors;
}

}  // namespace

void save_training_state(const fs::path& folder, const TrainingState& state) {
  ANNULI_CHECK(state.progress.is_object(), "progress is an object");
  ANNULI_CHECK(folder.has_filename(), "a folder with a name");
  try {
    const std::vector<fs::path> leftovers = possible_folders(folder);
    int64_t sequence = 0;
    fs::path newest = folder;
    for (const fs::path& leftover : leftovers) {
      const Candidate candidate = examine(leftover);
      if (candidate.fault.empty() && candidate.sequence >= sequence) {
        sequence = candidate.sequence + 1;
        newest = leftover;
      }
    }
    fs::path made = folder;
    made += kTemporary + std::to_string(sequence);
    for (const fs::path& leftover : leftovers) {
      if (leftover != folder && leftover != newest) fs::remove_all(leftover);
    }
    fs::create_directories(made);
    write_state(made, state, sequence);
    exchange(made, folder);
    for (const fs::path& leftover : possible_folders(folder)) {
      if (leftover != folder) fs::remove_all(leftover);
    }
  } catch (const fs::filesystem_error& error) {
    user_error("saving the training state {}: {}", folder.string(),
               error.what());
  }
}

std::optional<TrainingState> load_training_state(const fs::path& folder) {
  const std::optional<Candidate> newest = find_newest(folder);
  if (!newest) return std::nullopt;
  TrainingState state;
  state.progress = newest->state.at("progress");
  state.weights = read_tensors(*newest, kModel);
  state.optimizer = read_tensors(*newest, kOptimizer);
  return state;
}

std::optional<Json> load_progress(const fs::path& folder) {
  const std::optional<Candidate> newest = find_newest(folder);
  if (!newest) return std::nullopt;
  return newest->state.at("progress");
}

}  // namespace annuli
