#include "annuli/train/batch_ahead.h"

#include <utility>

namespace annuli::train {

data::Batch BatchAhead::next(int64_t batch_size) {
  worker_.finish();
  const data::LoaderState now = loader_.state();
  const bool fits =
      ready_ && ready_->batch_size == batch_size && read_at_ == now;
  data::Batch batch;
  if (fits) {
    batch = std::move(*ready_);
    loader_.seek(
        {now.seed, now.next_window + static_cast<uint64_t>(batch_size)});
  } else {
    batch = loader_.next(batch_size);
  }
  ready_.reset();
  read_at_ = loader_.state();
  worker_.post([this, batch_size] {
    ready_ = loader_.windows(read_at_.next_window, batch_size);
  });
  return batch;
}

}  // namespace annuli::train
