#include "tests/faults/cases.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <future>
#include <thread>
#include <utility>

#include "tests/faults/damage.h"
#include "tests/faults/injections.h"
#include "tests/faults/mounts.h"
#include "tests/support/thread_sanitizer.h"

namespace annuli::faults {
namespace {

template <typename Scene>
using Injection =
    std::function<Result(const Scene&, Script&, const CounterRng&)>;

class Collector {
 public:
  Collector(const Order& order, Scenes& scenes)
      : order_(order), scenes_(scenes) {}

  void training(const std::string& what, int count,
                const Injection<Training>& injection) {
    const std::string kind = what + ", training";
    if (!wanted(kind, count)) return;
    add(kind, "", count, scenes_.training(), injection);
  }

  void quick(const std::string& what, int count,
             const Injection<Training>& injection) {
    const std::string kind = what + ", plans/quick.yaml";
    if (!wanted(kind, count)) return;
    add(kind, "", count, scenes_.quick(), injection);
  }

  // Operators take turns.
  void growth(const std::string& what, int count,
              const Injection<Growth>& injection) {
    const std::string kind = what + ", growth";
    constexpr int kTurns = Scenes::kOperators;
    for (int i = 0; i < kTurns; ++i) {
      const int share = (count + kTurns - 1 - i) / kTurns;
      if (!wanted(kind, share)) continue;
      add(kind, std::to_string(i), share,
          scenes_.growth(static_cast<size_t>(i)), injection);
    }
  }

  void both(const std::string& what, const Injection<Scenario>& injection) {
    training(what, order_.each, injection);
    growth(what, (order_.each + 1) / 2, injection);
  }

  std::vector<Case> take() { return std::move(cases_); }

 private:
  bool wanted(const std::string& kind, int count) const {
    return count > 0 && kind.find(order_.only) != std::string::npos;
  }

  // The numbers of a case depend on its kind and place alone.
  template <typename Scene>
  void add(const std::string& kind, const std::string& variant, int count,
           const Scene& scene, const Injection<Scene>& injection) {
    for (int i = 0; i < count; ++i) {
      const CounterRng rng(order_.seed,
                           fmt::format("{}/{}/{}", kind, variant, i));
      cases_.push_back({kind, [&scene, injection, rng](Script& script) {
                          scene.prepare(script);
                          return injection(scene, script, rng);
                        }});
    }
  }

  const Order& order_;
  Scenes& scenes_;
  std::vector<Case> cases_;
};

void add_failures(Collector& collector) {
  for (const Failure& failure : failures()) {
    collector.both(failure.kind,
                   [&failure](const Scenario& scenario, Script& script,
                              const CounterRng& rng) {
                     return fail_at_random(scenario, script, failure, rng);
                   });
  }
}

void add_damage(Collector& collector, int count) {
  for (const Damage damage : {Damage::kCut, Damage::kFlip}) {
    collector.training(damage == Damage::kCut ? "file cut" : "byte flipped",
                       count,
                       [damage](const Training& training, Script& script,
                                const CounterRng& rng) {
                         return damage_run(training, script, damage, rng);
                       });
  }
}

void add_lack_of_room(Collector& collector, const std::string& no_mounts,
                      Tally& tally) {
  if (test::kThreadSanitizer) {
    tally.skip("file size limit, small disk",
               "the thread sanitizer begins with a file of its own");
  } else {
    collector.both("file size limit", limit_files);
  }
  collector.both("standard output full", fill_output);
  if (!no_mounts.empty()) {
    tally.skip("small disk, read-only file system", no_mounts);
    return;
  }
  if (!test::kThreadSanitizer) collector.both("small disk", fill_small_disk);
  collector.both("read-only file system", mount_read_only);
}

// The bound is looked for once, and only if it is asked for.
void add_memory(Collector& collector, const fs::path& root, Tally& tally) {
#ifdef ANNULI_SANITIZED
  tally.skip("memory bound", "a sanitizer needs the whole address space");
#else
  const std::shared_future<uint64_t> least =
      std::async(std::launch::deferred, least_memory, root).share();
  collector.both(
      "memory bound",
      [least](const Scenario& scenario, Script& script, const CounterRng& rng) {
        return limit_memory(scenario, script, least.get(), rng);
      });
#endif
}

void try_case(const Case& one, const fs::path& folder, Tally& tally) {
  Script script(folder);
  Result result;
  try {
    result = one.run(script);
  } catch (const std::exception& error) {
    result.lost = std::string("the harness: ") + error.what();
  }
  tally.add(one.kind, result, script.commands());
  if (result.lost.empty()) script.clean();
}

}  // namespace

std::vector<Case> collect_cases(const Order& order, Scenes& scenes,
                                Tally& tally) {
  const std::string no_mounts = enter_own_mounts();
  Collector collector(order, scenes);
  collector.training("kill", order.kills, kill_at_random);
  collector.quick("kill", order.quick_kills, kill_at_random);
  collector.growth("kill", order.growth_kills, kill_at_random);
  add_failures(collector);
  add_lack_of_room(collector, no_mounts, tally);
  collector.training("folder vanishes", order.each, vanish_at_random);
  collector.training("clock jumps", order.each, jump_clock);
  add_memory(collector, scenes.root(), tally);
  add_damage(collector, order.damages);
  return collector.take();
}

void try_cases(const std::vector<Case>& cases, const fs::path& root,
               Tally& tally) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < cases.size(); i = next++) {
      try_case(cases[i], root / std::to_string(i), tally);
    }
  };
  std::vector<std::jthread> workers;
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < cores; ++i) workers.emplace_back(work);
}

}  // namespace annuli::faults
