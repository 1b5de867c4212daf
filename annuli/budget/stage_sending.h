#pragma once

#include <cstddef>
#include <cstdint>

#include "annuli/budget/sending.h"
#include "annuli/budget/stage_parts.h"

namespace annuli::budget {

// Some of a step's operations: what goes through one process' link, one way, of
// the process for which it is the most; and the rounds of messages.
struct Flow {
  int64_t bytes = 0;
  int64_t rounds = 0;
  double seconds(const Link& link) const {
    return static_cast<double>(bytes) / link.bytes_per_second +
           static_cast<double>(rounds) * link.latency;
  }
};

// What a step of N processes sends, operation by operation, in the stages of
// model/row_stages.h.
class StageSending {
 public:
  // All but `processes` and `shard` are borrowed.
  StageSending(const ModelConfig& config, const NumberTypes& numbers,
               const TrainPlan& train, int64_t processes, Sharding shard);

  size_t stages() const { return parts_.size(); }
  bool in_parts() const { return shard_ != Sharding::kNone; }
  bool fetches() const { return shard_ == Sharding::kFull; }
  // Owners update when all gradients are there; otherwise stage by stage.
  bool waits_for_norm() const { return train_.max_grad_norm > 0; }
  // Whether owners give a stage's weights to all when they are updated.
  bool gives(size_t stage) const;

  Flow note() const;
  // Which rows there are, and their gradients.
  Flow gradients(size_t stage) const;
  Flow weights(size_t stage) const;
  Flow all_weights() const;
  // One number for each row.
  Flow squares() const;

 private:
  Flow of_messages(int64_t messages, int64_t bytes = 0) const;
  Flow of_weights(int64_t entries, int64_t exchanges) const;
  Flow gradients_of_all(size_t stage) const;

  const ModelConfig& config_;
  const NumberTypes& numbers_;
  const TrainPlan& train_;
  int64_t processes_;
  Sharding shard_;
  StageParts parts_;
};

}  // namespace annuli::budget
