#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/model/number_types.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/row_stages.h"

// What of a model's weights and gradients each of N processes has where they
// hold parts (parallel.shard), stage by stage: model/row_owners.h and
// model/row_stages.h in bytes. Each answer is that of the process for which it
// is the most.
namespace annuli::budget {

class StageParts {
 public:
  // config and numbers are borrowed.
  StageParts(const ModelConfig& config, const NumberTypes& numbers,
             int64_t processes);

  int64_t processes() const { return owners_.processes(); }
  // The embedding, the layers, the final norm with the head.
  size_t size() const { return stages_.size(); }
  int64_t layers() const { return static_cast<int64_t>(size()) - 2; }
  bool has_tied_head() const;

  int64_t entries(size_t stage) const;
  // Of all rows, as a backward pass gives them.
  int64_t gradients(size_t stage) const;
  // Of the own rows from this stage up.
  int64_t own_gradients_from(size_t stage) const;

  // Own weights; with those of others outside the layers; and of one layer too;
  // or of two, as in a pass, which asks for the next one's ahead.
  int64_t own_weights() const { return weights_with(false, 0); }
  int64_t weights_outside_layers() const { return weights_with(true, 0); }
  int64_t weights_in_layer() const { return weights_with(true, 1); }
  int64_t weights_in_pass() const { return weights_with(true, 2); }

  // Operations in which a stage's entries of so many bytes go to or from their
  // owners, a bucket at a time.
  int64_t exchanges(size_t stage, int64_t entry_bytes) const;
  int64_t exchanges_of_all(int64_t entry_bytes) const;
  // Entries that go through one process' link, one way, while those of a stage
  // go to their owners, or from them to all.
  int64_t entries_through_link(size_t stage) const;
  int64_t entries_through_link_of_all() const;
  // What such an operation holds: of gradients what goes and what comes; of
  // weights the own and what comes; and with more than two processes, what goes
  // once more as it is sent.
  int64_t gradient_buckets(size_t stage) const;
  int64_t weight_buckets(size_t stage) const;
  int64_t weight_buckets_of_all() const;

 private:
  // `layers`: so many, one beside the other.
  int64_t weights_with(bool outside, size_t layers) const;
  int64_t weights_of_others(size_t stage, int64_t process) const;
  // Of these rows, by owner.
  std::vector<int64_t> entries_by_owner(const std::vector<size_t>& rows) const;
  // Of a process' operation, by what is sent of own entries and those of
  // others.
  int64_t most_in_bucket(std::vector<int64_t> entries, int64_t entry_bytes,
                         int64_t times_own, int64_t times_others) const;
  int64_t weight_buckets(std::vector<int64_t> entries) const;
  std::vector<int64_t> entries_of_all() const;
  // Entries that each owner has in a bucket.
  int64_t slice(int64_t entry_bytes) const;

  const NumberTypes& numbers_;
  TensorTable table_;
  RowOwners owners_;
  RowStages stages_;
};

}  // namespace annuli::budget
