#include "annuli/train/evaluate.h"

#include <map>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/model/shared_work.h"
#include "annuli/train/batch_tensors.h"

namespace annuli::train {
namespace {

double loss_of(const Transformer& model, const data::Batch& window) {
  return model
      .loss(tokens_of(window, model.device()),
            targets_of(window, model.device()),
            {.documents = documents_of(window)})
      .cross_entropy.item<double>();
}

}  // namespace

double evaluate(const Transformer& model, const data::Batch& windows,
                parallel::ProcessGroup& group) {
  const int64_t count = windows.batch_size;
  ANNULI_CHECK(count > 0, "a batch of {} windows", count);
  std::map<int64_t, double> losses;
  std::vector<Pass> passes;
  const int64_t end = first_of(group.rank() + 1, group.size(), count);
  for (int64_t i = first_of(group.rank(), group.size(), count); i < end; ++i) {
    passes.emplace_back(
        [&, i] { losses[i] = loss_of(model, windows.rows(i, 1)); });
  }
  make_passes(model, group, "evaluating", passes);
  double sum = 0;
  for (const double loss : in_order(group, losses)) sum += loss;
  return sum / static_cast<double>(count);
}

}  // namespace annuli::train
