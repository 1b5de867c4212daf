#include "annuli/cli/run_group.h"

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "annuli/cli/exit_status.h"
#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/parallel/failure_report.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/rendezvous.h"
#include "annuli/parallel/solo.h"

namespace annuli::cli {
namespace {

// Our own launcher names each process itself.
void leave_speaking_to_first(const parallel::ProcessGroup& group,
                             bool is_named) {
  if (group.is_first()) return;
  if (!is_named) name_speaker(fmt::format("rank {}", group.rank()));
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

void with_group(double start, double timeout, std::string_view advice,
                const std::function<void(parallel::ProcessGroup&)>& work) {
  const parallel::LaunchEnvironment environment =
      parallel::launch_environment();
  if (environment.size == 1) {
    work(parallel::solo());
    return;
  }
  const auto group = parallel::join(environment, timeout, start);
  const bool is_named = std::getenv(parallel::kReportVariable) != nullptr;
  leave_speaking_to_first(*group, is_named);
  try {
    work(*group);
  } catch (const parallel::LostProcess& lost) {
    throw parallel::LostProcess(lost.status(),
                                fmt::format("{}; {}", lost.what(), advice));
  } catch (...) {
    const Ending ending = ending_of(std::current_exception());
    group->say_failed(ending.status, ending.text);
    if (!group->is_first() && !is_named) rethrow_named(*group);
    throw;
  }
}

}  // namespace annuli::cli
