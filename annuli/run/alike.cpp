#include "annuli/run/alike.h"

#include <string>
#include <vector>

#include "annuli/config/plan_changes.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/hash.h"
#include "annuli/core/json.h"
#include "annuli/kernels/threads.h"

namespace annuli::run {
namespace {

Json facts(const Plan& plan) {
  return {{"program", sha256_of_file("/proc/self/exe")},
          {"threads", kernels::num_threads()},
          {"plan", hashed_json(plan)}};
}

std::string difference(const Json& first, const Json& other) {
  for (const char* key : {"program", "threads"}) {
    if (first.at(key) == other.at(key)) continue;
    return fmt::format("{} {} on rank 0 and {}", key, first.at(key).dump(),
                       other.at(key).dump());
  }
  const PlanChange change =
      plan_changes(first.at("plan"), other.at("plan"), 0, false).front();
  return fmt::format("{}: {} on rank 0 and {}", change.key, change.before,
                     change.after);
}

}  // namespace

void require_alike(const Plan& plan, parallel::ProcessGroup& group) {
  if (group.size() == 1) return;
  const std::vector<std::string> all = group.gather(facts(plan).dump());
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    user_error(
        "starting {} processes: found {} on rank {}, expected the same; start "
        "one program with one plan everywhere",
        group.size(), difference(Json::parse(all[0]), Json::parse(all[rank])),
        rank);
  }
}

void require_alike_data(const std::string& hash,
                        parallel::ProcessGroup& group) {
  const std::vector<std::string> all = group.gather(hash);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    user_error(
        "reading the data of {} processes: found other tokens on rank {} than "
        "on rank 0, expected the same; give all one folder, or the same files",
        group.size(), rank);
  }
}

}  // namespace annuli::run
