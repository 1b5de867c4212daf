#include "annuli/train/evaluate.h"

#include "annuli/core/error.h"
#include "annuli/train/batch_tensors.h"

namespace annuli::train {

double evaluate(const Transformer& model, const data::Batch& windows) {
  ANNULI_CHECK(windows.batch_size > 0, "a batch of {} windows",
               windows.batch_size);
  double sum = 0;
  for (int64_t i = 0; i < windows.batch_size; ++i) {
    const data::Batch window = windows.rows(i, 1);
    const Loss loss = model.loss(tokens_of(window, model.device()),
                                 targets_of(window, model.device()));
    sum += loss.cross_entropy.item<double>();
  }
  return sum / static_cast<double>(windows.batch_size);
}

}  // namespace annuli::train
