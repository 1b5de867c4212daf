#pragma once

namespace annuli::cli {

// While it lives, SIGINT, SIGTERM and SIGUSR1 (what schedulers send some time
// before the end) ask the run to stop (core/stop_request.h) instead of ending
// the program. The same signal once more ends it at once.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

}  // namespace annuli::cli
