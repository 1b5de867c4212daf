#include "annuli/budget/sending.h"

#include <algorithm>

#include "annuli/budget/stage_parts.h"
#include "annuli/model/tensor_table.h"
#include "annuli/train/gradient_exchange.h"
#include "annuli/train/step_exchange.h"
#include "annuli/train/step_share.h"

namespace annuli::budget {

double Sending::seconds(const Link& link) const {
  return static_cast<double>(bytes) / link.bytes_per_second +
         static_cast<double>(rounds) * link.latency;
}

namespace {

// Each operation agrees on what it is before it sends; an exchange on how much
// goes, too.
constexpr int64_t kMessages = 2;
constexpr int64_t kMessagesOfExchange = 3;

int64_t bytes_of(at::ScalarType type) {
  return static_cast<int64_t>(c10::elementSize(type));
}

// The note that all make, and the routers' means where they are wanted.
int64_t rounds_of_notes(const ModelConfig& config, const TrainPlan& train) {
  const bool means =
      config.is_mixture() && train.router_mean_projection.value_or(false);
  return kMessages * (means ? 2 : 1);
}

int64_t rounds_of_gradients(const ModelConfig& config,
                            const NumberTypes& numbers) {
  constexpr int64_t kOperationsOfBucket = 2;
  const int64_t gradients =
      count_parameters(config).total * bytes_of(numbers.arithmetic);
  const int64_t buckets =
      (gradients + train::kBucketBytes - 1) / train::kBucketBytes;
  return kMessages * kOperationsOfBucket * buckets;
}

// Of each stage which rows there are, and its gradients; the squares of all
// rows; weights: all of them at once, or those outside the layers, and each
// layer before each forward and each backward pass.
int64_t rounds_with_owners(const ModelConfig& config,
                           const NumberTypes& numbers, const TrainPlan& train,
                           int64_t processes, Sharding shard) {
  const StageParts parts(config, numbers, processes);
  const int64_t weight = bytes_of(numbers.weights);
  const int64_t passes = train::StepShare(train, 0, processes).passes();
  int64_t gradients = 0;
  int64_t weights = 0;
  for (size_t stage = 0; stage < parts.size(); ++stage) {
    const bool is_layer = stage > 0 && stage + 1 < parts.size();
    gradients += parts.exchanges(stage, bytes_of(numbers.arithmetic));
    weights += parts.exchanges(stage, weight) * (is_layer ? 2 * passes : 1);
  }
  if (shard != Sharding::kFull) weights = parts.exchanges_of_all(weight);
  const int64_t told = static_cast<int64_t>(parts.size()) + 1;
  return kMessages * told + kMessagesOfExchange * (gradients + weights);
}

}  // namespace

Sending sending_of_step(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes,
                        Sharding shard) {
  if (processes == 1) return {};
  const int64_t rounds =
      rounds_of_notes(config, train) +
      (shard == Sharding::kNone
           ? rounds_of_gradients(config, numbers)
           : rounds_with_owners(config, numbers, train, processes, shard));
  return {
      .bytes = train::step_bytes_sent(config, numbers, train, processes, shard),
      .rounds = rounds * (processes - 1),
  };
}

int64_t sending_memory(int64_t gradient_bytes, int64_t processes) {
  constexpr int64_t kBuckets = 3;
  return processes == 1
             ? 0
             : kBuckets * std::min(gradient_bytes, train::kBucketBytes);
}

}  // namespace annuli::budget
