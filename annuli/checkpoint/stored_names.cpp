#include "annuli/checkpoint/stored_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

constexpr std::string_view kBase = "model.";
constexpr std::string_view kHead = "lm_head.";

constexpr std::string_view kWrappers[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                          "_checkpoint_wrapped_module."};

bool is_whole_part(std::string_view name, size_t at) {
  return at == 0 || name[at - 1] == '.';
}

// Leaves wrappers out; adds those that it found to `seen`.
std::string unwrapped(std::string name, std::set<std::string_view>& seen) {
  for (const std::string_view wrapper : kWrappers) {
    for (size_t at = name.find(wrapper); at != std::string::npos;
         at = name.find(wrapper, at)) {
      if (!is_whole_part(name, at)) {
        at += wrapper.size();
        continue;
      }
      name.erase(at, wrapper.size());
      seen.insert(wrapper);
    }
  }
  return name;
}

// How a name becomes the table's: `off` is taken off, then `on` put in front
// of all but the head.
struct Change {
  std::string off;
  std::string_view on;

  bool is_none() const { return off.empty() && on.empty(); }

  std::optional<std::string> of(const std::string& name) const {
    const bool shares = name.starts_with(off);
    const std::string rest = shares ? name.substr(off.size()) : name;
    const bool head = rest.starts_with(kHead);
    if (!shares && !(head && !on.empty())) return std::nullopt;
    return head ? rest : fmt::format("{}{}", on, rest);
  }

  std::string told() const {
    if (off.empty()) {
      return fmt::format(
          "no tensor's name begins with '{}', which is put in "
          "front",
          kBase);
    }
    return fmt::format(
        "all names begin with {}, which is {}", quote(off),
        on.empty() ? "taken off" : fmt::format("replaced by '{}'", kBase));
  }
};

// From what stands before the table's first name within a layer, "layers.0...";
// no change where that is not one and the same thing.
Change change_of(const std::vector<std::string>& names,
                 const TensorTable& table) {
  const std::string& first = table.at(1).name;
  ANNULI_CHECK(first.starts_with(kBase), "{}", first);
  const std::string tail = first.substr(kBase.size());
  std::set<std::string> before;
  for (const std::string& name : names) {
    if (!name.ends_with(tail)) continue;
    const size_t at = name.size() - tail.size();
    if (is_whole_part(name, at)) before.insert(name.substr(0, at));
  }
  if (before.size() != 1 || before.contains(std::string(kBase))) return {};
  std::string off = *before.begin();
  const size_t base = off.size() - std::min(off.size(), kBase.size());
  if (!off.ends_with(kBase) || !is_whole_part(off, base)) return {off, kBase};
  off.resize(base);
  return {off, ""};
}

// The names after the change; nothing where it does not hold for all, or makes
// two of one.
std::optional<std::vector<std::string>> changed(
    const std::vector<std::string>& names, const Change& change) {
  std::vector<std::string> result;
  std::set<std::string> distinct;
  for (const std::string& name : names) {
    const auto made = change.of(name);
    if (!made || !distinct.insert(*made).second) return std::nullopt;
    result.push_back(*made);
  }
  return result;
}

}  // namespace

StoredNames::StoredNames(const std::vector<TensorEntry>& entries,
                         const TensorTable& table) {
  std::vector<std::string> names;
  std::set<std::string_view> wrappers;
  for (const TensorEntry& entry : entries) {
    names.push_back(unwrapped(entry.name, wrappers));
  }
  for (const std::string_view wrapper : wrappers) {
    note_ += fmt::format("{}the names' parts '{}' are left out",
                         note_.empty() ? "" : ", ", wrapper);
  }
  const Change change = change_of(names, table);
  if (auto made = change.is_none() ? std::nullopt : changed(names, change)) {
    names = *std::move(made);
    note_ += (note_.empty() ? "" : ", ") + change.told();
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    stored_.emplace(names[i], entries[i].name);
    of_table_.emplace(entries[i].name, names[i]);
  }
}

std::string StoredNames::stored(const std::string& name) const {
  const auto found = stored_.find(name);
  return found == stored_.end() ? "" : found->second;
}

const std::string& StoredNames::of_table(const std::string& stored) const {
  return of_table_.at(stored);
}

}  // namespace annuli
