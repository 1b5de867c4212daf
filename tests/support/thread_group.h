#pragma once

#include <cstdint>
#include <functional>

#include "annuli/parallel/process_group.h"

// A group of processes for tests: threads of one process, which share memory.
// It keeps to the contract of parallel/process_group.h. A thread that throws
// ends the waits of the others, and so does a wait of a minute; different
// operations, types or shapes are a CheckFailure in all threads.
//
// `bytes_sent` is payload, as parallel/c10d_group.h counts it.
namespace annuli::test {

// Runs `work` in `processes` threads at once, each with the group as it sees it
// and with one thread for its products. Throws what the first of them threw.
void run_together(int64_t processes,
                  const std::function<void(parallel::ProcessGroup&)>& work);

}  // namespace annuli::test
