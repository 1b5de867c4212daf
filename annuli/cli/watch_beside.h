#pragma once

#include <optional>
#include <string>

#include "annuli/parallel/child.h"

// `annuli run --watch[=PORT]`: the page of a run, served by a process of its
// own as long as this object lives.
//
// A process, and not a thread: it shares no memory, no allocator and no thread
// pool with the training, gives way to it (nice 10), and can't take it down. It
// ends with this process, however this one ends.
namespace annuli::cli {

// What it is told by, beside its arguments: "HOST DESCRIPTOR".
inline constexpr const char* kWatchSocketVariable = "ANNULI_WATCH_SOCKET";

class WatchBeside {
 public:
  // Takes the port (empty: the usual one) and says where the page is. UserError
  // if the port is taken or no number. The run's folder need not be there yet.
  WatchBeside(const std::string& port, const std::string& folder);
  // Gives those who watch the end of the run, and says that the page is gone.
  ~WatchBeside();
  WatchBeside(const WatchBeside&) = delete;
  WatchBeside& operator=(const WatchBeside&) = delete;

 private:
  std::string folder_;
  std::string address_;
  std::optional<parallel::Child> child_;
};

}  // namespace annuli::cli
