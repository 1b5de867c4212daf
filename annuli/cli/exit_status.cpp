#include "annuli/cli/exit_status.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <filesystem>
#include <new>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/parallel/launcher.h"
#include "annuli/parallel/process_group.h"
#include "annuli/run/stopped.h"

namespace annuli::cli {

Ending ending_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const run::Stopped& stopped) {
    constexpr int kSignalled = 128;
    return {kSignalled + stopped.signal(), stopped.what()};
  } catch (const parallel::LostProcess& lost) {
    return {lost.status(), lost.what(), /*of_another=*/true};
  } catch (const parallel::LaunchFailure& failure) {
    return {failure.status(), failure.what()};
  } catch (const VerdictError& failed) {
    return {kCheckFailed, failed.what()};
  } catch (const UserError& wrong) {
    return {kInputWrong, wrong.what()};
  } catch (const std::bad_alloc&) {
    return {kInputWrong, "out of memory; try a smaller batch_size"};
  } catch (const std::filesystem::filesystem_error& wrong) {
    return {kInputWrong, wrong.what()};
  } catch (const std::system_error& wrong) {
    // Of what the library itself asks the system for: threads.
    return {kInputWrong, fmt::format("starting a thread: {}; is memory or the "
                                     "number of processes limited here?",
                                     wrong.code().message())};
  } catch (const c10::Error& bug) {
    return {kBug, std::string("a bug, or the machine: ") +
                      bug.what_without_backtrace()};
  } catch (const std::exception& bug) {
    return {kBug, std::string("a bug: ") + bug.what()};
  }
}

}  // namespace annuli::cli
