#pragma once

#include <cstdint>

#include "annuli/config/plan.h"
#include "annuli/model/number_types.h"

// What processes that share a training step send to each other.
//
// The model of a link: each of N - 1 rounds of an operation takes the latency,
// and what goes through it one way, its bandwidth; both ways go at once. How
// long a step takes with it: step_times.h.
namespace annuli::budget {

struct Link {
  double bytes_per_second = 1.25e9;  // 10 Gbit/s
  double latency = 50e-6;            // seconds, from one process to another
};

// The processes that a plan is to run on.
struct Sharing {
  int64_t processes = 1;
  Link link;
};

// Of one step and one process.
struct Sending {
  int64_t bytes = 0;
  int64_t rounds = 0;
};

// With `shard`, of the process that sends most.
Sending sending_of_step(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes,
                        Sharding shard = Sharding::kNone);

// What a process holds to send and to receive of gradients that all have,
// beside them.
int64_t sending_memory(int64_t gradient_bytes, int64_t processes);

}  // namespace annuli::budget
