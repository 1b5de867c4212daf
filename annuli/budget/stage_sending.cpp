#include "annuli/budget/stage_sending.h"

#include "annuli/model/tensor_table.h"
#include "annuli/parallel/bucket.h"
#include "annuli/train/gradient_exchange.h"

namespace annuli::budget {
namespace {

// Each operation agrees on what it is before it sends; an exchange on how much
// goes, too.
constexpr int64_t kMessages = 2;
constexpr int64_t kMessagesOfExchange = 3;

int64_t bytes_of(at::ScalarType type) {
  return static_cast<int64_t>(c10::elementSize(type));
}

}  // namespace

StageSending::StageSending(const ModelConfig& config,
                           const NumberTypes& numbers, const TrainPlan& train,
                           int64_t processes, Sharding shard)
    : config_(config),
      numbers_(numbers),
      train_(train),
      processes_(processes),
      shard_(shard),
      parts_(config, numbers, processes) {}

bool StageSending::gives(size_t stage) const {
  const bool outside = stage == 0 || stage + 1 == stages();
  return in_parts() && (outside || !fetches());
}

Flow StageSending::of_messages(int64_t messages, int64_t bytes) const {
  return {.bytes = bytes, .rounds = messages * (processes_ - 1)};
}

// The routers' means too, where they are wanted.
Flow StageSending::note() const {
  const bool means =
      config_.is_mixture() && train_.router_mean_projection.value_or(false);
  return of_messages(kMessages * (means ? 2 : 1));
}

Flow StageSending::gradients(size_t stage) const {
  if (!in_parts()) return gradients_of_all(stage);
  const int64_t entry = bytes_of(numbers_.arithmetic);
  return of_messages(
      kMessages + kMessagesOfExchange * parts_.exchanges(stage, entry),
      parts_.entries_through_link(stage) * entry);
}

Flow StageSending::gradients_of_all(size_t stage) const {
  constexpr int64_t kOperationsOfBucket = 2;
  const int64_t entry = bytes_of(numbers_.arithmetic);
  const int64_t entries = parts_.entries(stage);
  const int64_t bucket = parallel::kBucketBytes / entry;
  const int64_t buckets = (entries + bucket - 1) / bucket;
  return of_messages(kMessages + kMessages * kOperationsOfBucket * buckets,
                     train::gradient_bytes_sent(entries, entry, processes_));
}

Flow StageSending::of_weights(int64_t entries, int64_t exchanges) const {
  return of_messages(kMessagesOfExchange * exchanges,
                     entries * bytes_of(numbers_.weights));
}

Flow StageSending::weights(size_t stage) const {
  return of_weights(parts_.entries_through_link(stage),
                    parts_.exchanges(stage, bytes_of(numbers_.weights)));
}

Flow StageSending::all_weights() const {
  return of_weights(parts_.entries_through_link_of_all(),
                    parts_.exchanges_of_all(bytes_of(numbers_.weights)));
}

Flow StageSending::squares() const { return of_messages(kMessages); }

}  // namespace annuli::budget
