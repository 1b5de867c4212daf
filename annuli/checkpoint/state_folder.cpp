#include "annuli/checkpoint/state_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <string>
#include <system_error>

#include "annuli/core/error.h"

namespace annuli {
namespace {

constexpr std::string_view kUnfinished = ".tmp-";
constexpr std::string_view kDamaged = ".damaged-";

// What a state's folder is called; -1 for anything else.
int64_t number_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  constexpr size_t kMostDigits = 18;
  if (name.empty() || name.size() > kMostDigits ||
      name.find_first_not_of("0123456789") != std::string::npos) {
    return -1;
  }
  return std::stoll(name);
}

std::string name_of(int64_t number) { return fmt::format("{:06}", number); }

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    entries.push_back(item.path());
  }
  return entries;
}

// The states in a folder, newest first.
std::vector<fs::path> numbered_states(const fs::path& folder) {
  std::vector<fs::path> states = entries_of(folder);
  std::erase_if(states,
                [](const fs::path& path) { return number_of(path) < 0; });
  std::ranges::sort(states, std::greater(), number_of);
  return states;
}

// PREFIX and a state's number; what else begins so is not ours.
void remove_starting_with(const fs::path& folder, std::string_view prefix) {
  for (const fs::path& path : entries_of(folder)) {
    const std::string name = path.filename().string();
    if (name.starts_with(prefix) &&
        number_of(name.substr(prefix.size())) >= 0) {
      fs::remove_all(path);
    }
  }
}

}  // namespace

std::string state_file_name(std::string_view what, int64_t rank, int64_t size) {
  if (size == 1) return fmt::format("{}.safetensors", what);
  return fmt::format("{}-{:05}-of-{:05}.safetensors", what, rank + 1, size);
}

bool is_state_file_of(std::string_view what, std::string_view name) {
  if (name == state_file_name(what, 0, 1)) return true;
  std::string shape(name);
  std::ranges::replace_if(
      shape, [](char c) { return '0' <= c && c <= '9'; }, '0');
  return shape == state_file_name(what, -1, 0);
}

bool is_one_state(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kStateFile, error);
}

std::vector<fs::path> states_of(const fs::path& folder) {
  if (is_one_state(folder)) return {folder};
  return numbered_states(folder);
}

bool is_training_state(const fs::path& folder) {
  return is_one_state(folder) ||
         std::ranges::any_of(numbered_states(folder), is_one_state);
}

bool is_state_path(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == path.npos) return false;
  std::string_view state = path.substr(0, slash);
  for (const std::string_view prefix : {kUnfinished, kDamaged}) {
    if (state.starts_with(prefix)) state.remove_prefix(prefix.size());
  }
  if (number_of(state) < 0) return false;
  std::string_view file = path.substr(slash + 1);
  file = file.substr(0, file.find(kUnfinished));
  return file.empty() || file == kStateFile ||
         is_state_file_of(kStateModel, file) ||
         is_state_file_of(kStateOptimizer, file);
}

fs::path make_unfinished_state(const fs::path& folder) {
  fs::create_directories(folder);
  remove_unfinished_states(folder);
  const std::vector<fs::path> states = numbered_states(folder);
  const int64_t number = states.empty() ? 1 : number_of(states.front()) + 1;
  const fs::path made = folder / (std::string(kUnfinished) + name_of(number));
  fs::create_directory(made);
  return made;
}

void put_state_in_place(const fs::path& made, int64_t keep) {
  const fs::path folder = made.parent_path();
  fs::rename(made,
             folder / made.filename().string().substr(kUnfinished.size()));
  sync_folder(folder);
  const std::vector<fs::path> states = numbered_states(folder);
  for (size_t i = static_cast<size_t>(keep); i < states.size(); ++i) {
    fs::remove_all(states[i]);
  }
  remove_starting_with(folder, kDamaged);
}

void set_aside(const fs::path& damaged) {
  const fs::path aside = damaged.parent_path() /
                         (std::string(kDamaged) + damaged.filename().string());
  std::error_code error;
  fs::remove_all(aside, error);
  fs::rename(damaged, aside, error);
  if (error) {
    user_error("setting the damaged training state {} aside: {}",
               damaged.string(), error.message());
  }
}

void remove_unfinished_states(const fs::path& folder) {
  remove_starting_with(folder, kUnfinished);
}

}  // namespace annuli
