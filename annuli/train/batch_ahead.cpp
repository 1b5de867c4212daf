#include "annuli/train/batch_ahead.h"

#include <utility>

namespace annuli::train {

data::Batch BatchAhead::next(int64_t pass) {
  worker_.finish();
  const auto first_of = [&](uint64_t step_at, int64_t number) {
    return step_at +
           static_cast<uint64_t>(windows_.first + number * windows_.in_pass);
  };
  const auto in_step = static_cast<uint64_t>(windows_.in_step);
  if (pass == 0) {
    data::LoaderState now = loader_.state();
    step_at_ = now.next_window;
    now.next_window += in_step;
    loader_.seek(now);
  }
  const uint64_t at = first_of(step_at_, pass);
  data::Batch batch = ready_ && ready_at_ == at
                          ? std::move(*ready_)
                          : loader_.windows(at, windows_.in_pass);
  ready_.reset();
  ready_at_ = pass + 1 < windows_.passes ? first_of(step_at_, pass + 1)
                                         : first_of(step_at_ + in_step, 0);
  worker_.post(
      [this] { ready_ = loader_.windows(ready_at_, windows_.in_pass); });
  return batch;
}

}  // namespace annuli::train
