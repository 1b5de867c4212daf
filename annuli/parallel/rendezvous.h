#pragma once

#include <chrono>
#include <memory>

#include "annuli/parallel/board.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/process_group.h"

// How the processes of a run find each other.
namespace annuli::parallel {

// The group of all processes that were started together, of two or more.
// Returns when all have come, within `start` seconds; an operation of the group
// waits `timeout` seconds.
//
// Gloo listens at 127.0.0.1 if all are on one host and meet there; otherwise at
// the interface that GLOO_SOCKET_IFNAME names, or at the address from which
// this host reaches the place where they meet.
//
// UserError, as soon as it is known: the port is in use, nobody serves it, or
// there is no such interface. LostProcess: a process does not come in time.
std::unique_ptr<ProcessGroup> join(const LaunchEnvironment& environment,
                                   double timeout, double start);

// Where they meet. `limit` is how long an answer may take.
std::shared_ptr<Board> meeting_board(const LaunchEnvironment& environment,
                                     std::chrono::milliseconds limit);

}  // namespace annuli::parallel
