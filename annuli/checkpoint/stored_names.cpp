#include "annuli/checkpoint/stored_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "annuli/config/family.h"
#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

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

// What all names of the table but the head's begin with, "model.", and what the
// head's does, "lm_head.".
struct Prefixes {
  std::string_view base;
  std::string_view head;
};

// How a name becomes the table's: `off` is taken off, then `on` put in front
// of all but the head.
struct Change {
  std::string off;
  std::string_view on;
  Prefixes prefixes;

  bool is_none() const { return off.empty() && on.empty(); }

  std::optional<std::string> of(const std::string& name) const {
    const bool shares = name.starts_with(off);
    const std::string rest = shares ? name.substr(off.size()) : name;
    const bool head = rest.starts_with(prefixes.head);
    if (!shares && !(head && !on.empty())) return std::nullopt;
    return head ? rest : fmt::format("{}{}", on, rest);
  }

  std::string told() const {
    if (off.empty()) {
      return fmt::format(
          "no tensor's name begins with '{}', which is put in "
          "front",
          prefixes.base);
    }
    return fmt::format("all names begin with {}, which is {}", quote(off),
                       on.empty()
                           ? "taken off"
                           : fmt::format("replaced by '{}'", prefixes.base));
  }
};

// From what stands before the table's first name within a layer, "layers.0...";
// no change where that is not one and the same thing.
Change change_of(const std::vector<std::string>& names,
                 const TensorTable& table, const Prefixes& prefixes) {
  const std::string_view base = prefixes.base;
  const std::string& first = table.at(1).name;
  ANNULI_CHECK(first.starts_with(base),
               "the first tensor of a layer is {}, expected it below {}", first,
               base);
  const std::string tail = first.substr(base.size());
  std::set<std::string> before;
  for (const std::string& name : names) {
    if (!name.ends_with(tail)) continue;
    const size_t at = name.size() - tail.size();
    if (is_whole_part(name, at)) before.insert(name.substr(0, at));
  }
  if (before.size() != 1 || before.contains(std::string(base))) return {};
  std::string off = *before.begin();
  const size_t at = off.size() - std::min(off.size(), base.size());
  if (!off.ends_with(base) || !is_whole_part(off, at)) {
    return {off, base, prefixes};
  }
  off.resize(at);
  return {off, "", prefixes};
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

// transformers 5 has another word for it in memory than in its files.
constexpr std::string_view kHeadInMemory = "lm_head.";

// Whether the head is called so, and not what the family calls it.
bool has_head_of_memory(const std::vector<std::string>& names,
                        std::string_view head) {
  const auto begins_with = [&](std::string_view prefix) {
    return std::ranges::any_of(names, [&](const std::string& name) {
      const size_t at = name.find(prefix);
      return at != std::string::npos && is_whole_part(name, at);
    });
  };
  return head != kHeadInMemory && begins_with(kHeadInMemory) &&
         !begins_with(head);
}

}  // namespace

StoredNames::StoredNames(const std::vector<TensorEntry>& entries,
                         const TensorTable& table, const TensorNames& tensors) {
  std::vector<std::string> names;
  std::set<std::string_view> wrappers;
  for (const TensorEntry& entry : entries) {
    names.push_back(unwrapped(entry.name, wrappers));
  }
  for (const std::string_view wrapper : wrappers) {
    note_ += fmt::format("{}the names' parts '{}' are left out",
                         note_.empty() ? "" : ", ", wrapper);
  }
  const std::string head = fmt::format("{}.", tensors.head);
  if (has_head_of_memory(names, head)) {
    for (std::string& name : names) {
      const size_t at = name.find(kHeadInMemory);
      if (at == std::string::npos || !is_whole_part(name, at)) continue;
      name.replace(at, kHeadInMemory.size(), head);
    }
    note_ += fmt::format("{}'{}' is read as '{}'", note_.empty() ? "" : ", ",
                         kHeadInMemory, head);
  }
  const size_t base = tensors.layers.find('.') + 1;
  const Change change =
      change_of(names, table, {tensors.layers.substr(0, base), head});
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
