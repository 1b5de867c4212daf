#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/row_owners.h"
#include "annuli/model/row_stages.h"
#include "annuli/model/transformer.h"
#include "annuli/model/weight_keeper.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/gradient_exchange.h"

// Weights that go from the processes that own them to all others.
namespace annuli::train {

// Gives the rows' weights of their owners to all processes, into the memory
// that they have there. A graph does not notice.
void give_weights(const Transformer& model, const RowOwners& owners,
                  const std::vector<size_t>& rows,
                  parallel::ProcessGroup& group,
                  int64_t bucket_bytes = kBucketBytes);

// The weights of a model that is trained with `shard: full`: between two steps
// each process has those that it owns; in a step also those outside the layers,
// and of a layer while it is computed.
//
// State: whether all weights are here, as in the beginning. All processes call
// each function alike.
class SharedWeights final : public WeightKeeper {
 public:
  // All are borrowed.
  SharedWeights(const Transformer& model, const RowOwners& owners,
                parallel::ProcessGroup& group);

  // Gives up what is of others and makes ready for a step's passes.
  void begin_passes();
  // After the last one.
  void end_passes();
  void fetch(int64_t layer) override;
  void drop(int64_t layer) override;

  // All weights are here again, until the next step.
  void fetch_all();

 private:
  void fetch_stage(size_t stage);
  void drop_stage(size_t stage);
  bool is_own(size_t row) const { return owners_.owns(group_.rank(), row); }

  const Transformer& model_;
  const RowOwners& owners_;
  parallel::ProcessGroup& group_;
  RowStages stages_;
  bool all_here_ = true;
};

}  // namespace annuli::train
