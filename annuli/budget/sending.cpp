#include "annuli/budget/sending.h"

#include <algorithm>

#include "annuli/model/tensor_table.h"
#include "annuli/train/gradient_exchange.h"
#include "annuli/train/step_exchange.h"

namespace annuli::budget {

double Sending::seconds(const Link& link) const {
  return static_cast<double>(bytes) / link.bytes_per_second +
         static_cast<double>(rounds) * link.latency;
}

Sending sending_of_step(const ModelConfig& config, const NumberTypes& numbers,
                        const TrainPlan& train, int64_t processes) {
  if (processes == 1) return {};
  // Each operation agrees on what it is before it sends.
  constexpr int64_t kMessages = 2;
  constexpr int64_t kOperationsOfBucket = 2;
  const int64_t gradients =
      count_parameters(config).total *
      static_cast<int64_t>(c10::elementSize(numbers.arithmetic));
  const int64_t buckets =
      (gradients + train::kBucketBytes - 1) / train::kBucketBytes;
  const int64_t operations = 1 + kOperationsOfBucket * buckets;
  return {
      .bytes = train::step_bytes_sent(config, numbers, train, processes),
      .rounds = kMessages * operations * (processes - 1),
  };
}

int64_t sending_memory(int64_t gradient_bytes, int64_t processes) {
  constexpr int64_t kBuckets = 3;
  return processes == 1
             ? 0
             : kBuckets * std::min(gradient_bytes, train::kBucketBytes);
}

}  // namespace annuli::budget
