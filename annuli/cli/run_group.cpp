#include "annuli/cli/run_group.h"

#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <memory>
#include <string>

#include "annuli/cli/exit_status.h"
#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/kernels/threads.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/rendezvous.h"
#include "annuli/parallel/solo.h"

namespace annuli::cli {
namespace {

// This process may use some cores of this host; so may those processes that a
// launcher has not given others.
void divide_threads(parallel::ProcessGroup& group) {
  cpu_set_t usable;
  ANNULI_CHECK(::sched_getaffinity(0, sizeof(usable), &usable) == 0,
               "the system does not say which cores may be used");
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, HOST_NAME_MAX);
  std::string mine = host;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &usable)) mine += fmt::format(" {}", core);
  }
  const auto sharing = std::ranges::count(group.gather(mine), mine);
  const auto share = CPU_COUNT(&usable) / sharing;
  kernels::set_num_threads(static_cast<int>(std::max<int64_t>(share, 1)));
}

void leave_speaking_to_first(const parallel::ProcessGroup& group) {
  if (group.is_first()) return;
  name_speaker(fmt::format("rank {}", group.rank()));
  if (std::freopen("/dev/null", "w", stdout) == nullptr) {
    user_error("opening /dev/null: it is not there");
  }
}

// What went wrong in this process alone names it; what all find alike, and
// what was lost, does so already or need not.
void rethrow_named(const parallel::ProcessGroup& group) {
  try {
    throw;
  } catch (const UserError& error) {
    throw UserError(fmt::format("rank {}: {}", group.rank(), error.what()));
  } catch (const CheckFailure& error) {
    throw CheckFailure(fmt::format("rank {}: {}", group.rank(), error.what()));
  }
}

}  // namespace

void with_group(const Plan& plan,
                const std::function<void(parallel::ProcessGroup&)>& work) {
  const parallel::LaunchEnvironment environment =
      parallel::launch_environment();
  if (environment.size == 1) {
    work(parallel::solo());
    return;
  }
  const double timeout = plan.parallel.timeout;
  const auto group = parallel::join(environment, timeout, timeout);
  leave_speaking_to_first(*group);
  try {
    if (plan.threads == 0) divide_threads(*group);
    work(*group);
  } catch (const parallel::LostProcess&) {
    throw;
  } catch (...) {
    const Ending ending = ending_of(std::current_exception());
    group->say_failed(ending.status, ending.text);
    if (!group->is_first()) rethrow_named(*group);
    throw;
  }
}

}  // namespace annuli::cli
