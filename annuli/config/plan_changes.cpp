#include "annuli/config/plan_changes.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "annuli/core/json.h"

namespace annuli {
namespace {

// What only measures or writes, proofs and rates that are still to come.
constexpr auto kFromHereOn = std::to_array<std::string_view>(
    {"evaluation", "samples", "probe", "boundary_loss_budget", "schedule"});

std::string text_of(const Json* value) {
  return value == nullptr ? "nothing" : value->dump();
}

const Json* member(const Json* object, const std::string& key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

bool is_object(const Json* value) {
  return value != nullptr && value->is_object();
}

class Differences {
 public:
  Differences(size_t phase, bool phase_ended)
      : phase_(phase), phase_ended_(phase_ended) {}

  std::vector<PlanChange> found;

  void compare_plans(const Json& before, const Json& after) {
    for (const std::string& key : keys_of(&before, &after)) {
      if (key == "phases") {
        compare_phases(before.at(key), after.at(key));
        continue;
      }
      const bool counts_now =
          std::ranges::find(kFromHereOn, key) != kFromHereOn.end();
      compare(key, member(&before, key), member(&after, key),
              counts_now ? ChangeEffect::kNow : ChangeEffect::kBehind);
    }
  }

 private:
  static std::set<std::string> keys_of(const Json* before, const Json* after) {
    std::set<std::string> keys;
    for (const Json* side : {before, after}) {
      for (const auto& [key, value] : side->items()) keys.insert(key);
    }
    return keys;
  }

  void compare(const std::string& key, const Json* before, const Json* after,
               ChangeEffect effect) {
    if (is_object(before) && is_object(after)) {
      for (const std::string& name : keys_of(before, after)) {
        compare(key + "." + name, member(before, name), member(after, name),
                effect);
      }
    } else if (text_of(before) != text_of(after)) {
      found.push_back({key, text_of(before), text_of(after), effect});
    }
  }

  void compare_phases(const Json& before, const Json& after) {
    for (size_t i = 0; i < std::max(before.size(), after.size()); ++i) {
      const Json* old_phase = i < before.size() ? &before[i] : nullptr;
      const Json* new_phase = i < after.size() ? &after[i] : nullptr;
      const Json& named = i < after.size() ? after[i] : before[i];
      const std::string key = "phases." + named.value("name", "");
      if (i == phase_ && !phase_ended_ && is_object(old_phase) &&
          is_object(new_phase)) {
        compare_current(key, *old_phase, *new_phase);
      } else {
        compare(key, old_phase, new_phase,
                i > phase_ ? ChangeEffect::kAhead : ChangeEffect::kBehind);
      }
    }
  }

  // How it is trained, judged and named may change; what it grew by may not.
  void compare_current(const std::string& key, const Json& before,
                       const Json& after) {
    for (const std::string& name : keys_of(&before, &after)) {
      const bool done = name == "grow" || name == "name";
      compare(key + "." + name, member(&before, name), member(&after, name),
              done ? ChangeEffect::kBehind : ChangeEffect::kNow);
    }
  }

  size_t phase_;
  bool phase_ended_;
};

}  // namespace

std::vector<PlanChange> plan_changes(const Json& before, const Json& after,
                                     size_t phase, bool phase_ended) {
  Differences differences(phase, phase_ended);
  differences.compare_plans(before, after);
  return std::move(differences.found);
}

std::string to_text(const PlanChange& change) {
  return fmt::format("{} {} -> {}", change.key, change.before, change.after);
}

}  // namespace annuli
