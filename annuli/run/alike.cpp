#include "annuli/run/alike.h"

#include <string>
#include <vector>

#include "annuli/config/field.h"
#include "annuli/config/plan_changes.h"
#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/core/json.h"
#include "annuli/kernels/threads.h"
#include "annuli/parallel/agree.h"

namespace annuli::run {

void require_alike(const Plan& plan, parallel::ProcessGroup& group) {
  if (group.size() == 1) return;
  parallel::require_equal(
      group, {{"the program", sha256_of_file("/proc/self/exe")},
              {"the number of threads", std::to_string(kernels::num_threads())},
              {"parallel.shard", std::string(word_of(plan.parallel.shard))}});
  const std::vector<std::string> plans = group.gather(hashed_json(plan).dump());
  const size_t rank = parallel::rank_that_differs(plans);
  if (rank == 0) return;
  const PlanChange change =
      plan_changes(Json::parse(plans[0]), Json::parse(plans[rank]), 0, false)
          .front();
  user_error(
      "comparing the processes: {} of the plan is {} for rank {} and {} for "
      "rank 0, expected the same for all",
      change.key, change.after, rank, change.before);
}

}  // namespace annuli::run
