#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "annuli/parallel/board.h"
#include "annuli/parallel/process_group.h"

// A group of processes that send to each other through Gloo, c10d's library for
// CPUs.
//
// Before each operation all processes tell each other which operation it is,
// its type and its shape (agreement.h): a difference is found before anything
// else is sent. A barrier is that and nothing more.
//
// `bytes_sent` counts payload, as if each process sent to each other one by
// itself: of `all_gather` the part times N - 1; of `all_to_all` all rows but
// the own, as of `exchange`; of `gather` N - 1 times the length of the longest
// text. It does not count agreements (of `exchange` they have the lengths too),
// nor what is spoken on the board.
//
// When an operation fails, or `say_failed` is called, the connections are
// closed, so that processes that wait for this one go on at once.
namespace annuli::parallel {

struct GroupOptions {
  int64_t rank = 0;
  int64_t size = 1;
  // How long an operation waits for another process.
  std::chrono::milliseconds timeout{600'000};
  // How long it takes at most until all have joined.
  std::chrono::milliseconds start_timeout{600'000};
  // What Gloo listens at; or the name of a network interface.
  std::string address;
  std::string interface;
};

// Returns when all have joined. LostProcess: some do not come in time, or can't
// be reached. UserError: there is no such address.
std::unique_ptr<ProcessGroup> c10d_group(std::shared_ptr<Board> board,
                                         const GroupOptions& options);

// c10d prints, with a backtrace, what it also throws: no more, unless the user
// has set TORCH_CPP_LOG_LEVEL. Before any thread is started that reads the
// environment.
void quiet_c10d();

}  // namespace annuli::parallel
