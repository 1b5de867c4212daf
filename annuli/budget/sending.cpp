#include "annuli/budget/sending.h"

#include <algorithm>

#include "annuli/budget/stage_sending.h"
#include "annuli/parallel/bucket.h"
#include "annuli/train/step_exchange.h"
#include "annuli/train/step_share.h"

namespace annuli::budget {
namespace {

// Weights: of all stages once, at once or one by one; or of those outside the
// layers once, of each layer before each forward and each backward pass, and of
// the last layer before both.
int64_t rounds_of_weights(const StageSending& sending, int64_t passes) {
  const size_t head = sending.stages() - 1;
  if (!sending.in_parts()) return 0;
  if (!sending.fetches() && sending.waits_for_norm()) {
    return sending.all_weights().rounds;
  }
  int64_t rounds = 0;
  for (size_t stage = 0; stage <= head; ++stage) {
    const int64_t fetched = stage + 1 == head ? passes : 2 * passes;
    rounds +=
        sending.weights(stage).rounds * (sending.gives(stage) ? 1 : fetched);
  }
  return rounds;
}

}  // namespace

Sending sending_of_step(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes,
                        Sharding shard) {
  if (processes == 1) return {};
  const StageSending sending(config, numbers, train, processes, shard);
  int64_t rounds = sending.note().rounds;
  for (size_t stage = 0; stage < sending.stages(); ++stage) {
    rounds += sending.gradients(stage).rounds;
  }
  if (sending.in_parts()) rounds += sending.squares().rounds;
  rounds += rounds_of_weights(sending,
                              train::StepShare(train, 0, processes).passes());
  return {
      .bytes = train::step_bytes_sent(config, numbers, train, processes, shard),
      .rounds = rounds,
  };
}

int64_t sending_memory(int64_t gradient_bytes, int64_t processes) {
  constexpr int64_t kBuckets = 3;
  return processes == 1
             ? 0
             : kBuckets * std::min(gradient_bytes, parallel::kBucketBytes);
}

}  // namespace annuli::budget
