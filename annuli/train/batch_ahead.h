#pragma once

#include <cstdint>
#include <optional>

#include "annuli/core/worker.h"
#include "annuli/data/loader.h"

namespace annuli::train {

// A loader's training batches, each read while the step before computes.
//
// The batches and the loader's state are those of Loader::next: the state moves
// when a batch is handed out, not when it is read. Whoever moves the loader
// otherwise may do so; what was read ahead is then dropped. The loader is
// borrowed.
class BatchAhead {
 public:
  explicit BatchAhead(data::Loader& loader) : loader_(loader) {}

  data::Batch next(int64_t batch_size);

 private:
  data::Loader& loader_;
  data::LoaderState read_at_;
  std::optional<data::Batch> ready_;
  Worker worker_;  // last: it writes ready_
};

}  // namespace annuli::train
