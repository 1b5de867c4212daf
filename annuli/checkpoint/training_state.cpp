#include "annuli/checkpoint/training_state.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <system_error>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/state_folder.h"
#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/core/quote.h"
#include "annuli/parallel/agree.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 2;

// Of all that state.json says but the hash itself.
std::string hash_of(Json state) {
  state.erase("hash");
  return sha256_of(state.dump());
}

std::string size_fault(const fs::path& folder, const Json& state) {
  const Json& files = state.at("files");
  for (const char* what : {kStateModel, kStateOptimizer}) {
    if (std::ranges::none_of(files.items(), [&](const auto& file) {
          return is_state_file_of(what, file.key());
        })) {
      return fmt::format("{} names no {}", kStateFile,
                         state_file_name(what, 0, 1));
    }
  }
  for (const auto& [name, about] : files.items()) {
    if (!is_state_file_of(kStateModel, name) &&
        !is_state_file_of(kStateOptimizer, name)) {
      return fmt::format("{} names a file {}", kStateFile, quote(name));
    }
    const auto expected = about.at("bytes").get<int64_t>();
    std::error_code error;
    const auto size = fs::file_size(folder / name, error);
    if (error) return fmt::format("{} is missing", name);
    if (std::cmp_not_equal(size, expected)) {
      return fmt::format("{} has {} bytes, expected {}", name, size, expected);
    }
  }
  return "";
}

// state.json of a state, and what is wrong with it or with the sizes of the
// files beside it.
struct Candidate {
  fs::path folder;
  Json state{};
  std::string fault{};
};

Candidate examine(const fs::path& folder) {
  Candidate candidate{.folder = folder};
  if (!is_one_state(folder)) {
    candidate.fault = fmt::format("{} is missing", kStateFile);
    return candidate;
  }
  try {
    candidate.state = read_json(folder / kStateFile);
    const Json& state = candidate.state;
    const Json& version = state.at("format_version");
    if (version != kFormatVersion) {
      candidate.fault = fmt::format("format_version {}, expected {}",
                                    version.dump(), kFormatVersion);
    } else if (state.at("hash") != hash_of(state)) {
      candidate.fault = fmt::format(
          "{} is not what was written (its hash differs)", kStateFile);
    } else {
      state.at("progress");
      candidate.fault = size_fault(folder, state);
    }
  } catch (const UserError& error) {
    candidate.fault = error.what();
  } catch (const Json::exception& error) {
    candidate.fault = fmt::format("{}: {}", kStateFile, reason_of(error));
  }
  return candidate;
}

[[noreturn]] void all_damaged(const DamagedState& newest) {
  user_error(
      "reading the training state {}: {}; it is damaged, and there is no "
      "other; "
      "start over with --force",
      newest.folder.string(), newest.fault);
}

Json write_tensors(const fs::path& path,
                   const std::vector<NamedTensor>& tensors) {
  write_safetensors(path, tensors);
  return {{"bytes", fs::file_size(path)},
          {"content_hash", content_hash(tensors)}};
}

// All processes write their part; the first writes what stands for all.
void write_state(const fs::path& folder, const TrainingState& state,
                 parallel::ProcessGroup& group) {
  Json own = Json::object();
  const auto write = [&](std::string_view what, int64_t files,
                         const std::vector<NamedTensor>& tensors) {
    const std::string name =
        state_file_name(what, files == 1 ? 0 : group.rank(), files);
    own[name] = write_tensors(folder / name, tensors);
  };
  write(kStateOptimizer, group.size(), state.optimizer);
  if (state.weights_in_parts) {
    write(kStateModel, group.size(), state.weights);
  } else if (group.is_first()) {
    write(kStateModel, 1, state.weights);
  }
  const std::vector<std::string> parts = group.gather(own.dump());
  if (!group.is_first()) return;
  Json json = {{"format_version", kFormatVersion},
               {"progress", state.progress},
               {"files", Json::object()}};
  for (const std::string& part : parts) json["files"].update(Json::parse(part));
  json["hash"] = hash_of(json);
  write_json(folder / kStateFile, json);
  sync_folder(folder);
}

using Wanted = std::function<bool(const std::string& name)>;

// Unwanted ones exist only until they are hashed.
std::vector<NamedTensor> read_tensors(const Candidate& candidate,
                                      const std::string& name,
                                      const Wanted& wanted) {
  const SafetensorsFile file(candidate.folder / name);
  std::vector<NamedTensor> tensors;
  std::vector<std::string> hashes;
  for (const TensorEntry& entry : file.entries()) {
    NamedTensor tensor{entry.name, file.copy(entry.name)};
    if (wanted) hashes.push_back(tensor_hash(tensor));
    if (!wanted || wanted(entry.name)) tensors.push_back(std::move(tensor));
  }
  const Json& expected =
      candidate.state.at("files").at(name).at("content_hash");
  const Json found = wanted ? content_hash_of(hashes) : content_hash(tensors);
  if (found != expected) {
    user_error("{} is not what was written (its content hash differs)", name);
  }
  return tensors;
}

// Fills in what can be read of it; the fault if that is not all.
std::string read_state(const Candidate& candidate, TrainingState& state,
                       const WantedParts& wanted) {
  state = {};
  if (!candidate.fault.empty()) return candidate.fault;
  try {
    const WantedTensors tensors =
        wanted ? wanted(candidate.state.at("progress")) : WantedTensors();
    for (const auto& [name, about] : candidate.state.at("files").items()) {
      const bool is_model = is_state_file_of(kStateModel, name);
      std::ranges::move(
          read_tensors(candidate, name,
                       is_model ? tensors.weights : tensors.optimizer),
          std::back_inserter(is_model ? state.weights : state.optimizer));
    }
  } catch (const UserError& error) {
    state = {};
    return error.what();
  }
  state.progress = candidate.state.at("progress");
  return "";
}

}  // namespace

void save_training_state(const fs::path& folder, const TrainingState& state,
                         int64_t keep, parallel::ProcessGroup& group) {
  ANNULI_CHECK(state.progress.is_object(), "progress is an object");
  ANNULI_CHECK(keep >= 1, "keeping {} states", keep);
  try {
    const std::string made = parallel::of_first(
        group, group.is_first() ? make_unfinished_state(folder).string() : "");
    write_state(made, state, group);
    if (group.is_first()) put_state_in_place(made, keep);
  } catch (const fs::filesystem_error& error) {
    user_error(
        "saving the training state in {}: {}; the one before it is whole",
        folder.string(), error.code().message());
  }
}

std::optional<LoadedState> load_training_state(const fs::path& folder,
                                               int64_t skip,
                                               const WantedParts& wanted) {
  LoadedState loaded;
  for (const fs::path& path : states_of(folder)) {
    const std::string fault = read_state(examine(path), loaded.state, wanted);
    if (!fault.empty()) {
      loaded.damaged.push_back({path, fault});
    } else if (std::ssize(loaded.skipped) < skip) {
      loaded.skipped.push_back(path);
    } else {
      loaded.folder = path;
      return loaded;
    }
  }
  if (loaded.skipped.empty() && !loaded.damaged.empty()) {
    all_damaged(loaded.damaged.front());
  }
  return std::nullopt;
}

std::optional<Json> load_progress(const fs::path& folder) {
  std::optional<DamagedState> newest;
  for (const fs::path& path : states_of(folder)) {
    Candidate candidate = examine(path);
    if (candidate.fault.empty()) return candidate.state.at("progress");
    if (!newest) newest = {path, candidate.fault};
  }
  if (newest) all_damaged(*newest);
  return std::nullopt;
}

}  // namespace annuli
