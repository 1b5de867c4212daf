#include "annuli/verify/vocabulary_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace annuli::verify {

VocabularyPass::VocabularyPass(const Transformer& model, const at::Tensor& x,
                               at::Tensor targets)
    : model_(model),
      hidden_(model.final_norm(x)),
      targets_(std::move(targets)),
      log_sum_(at::full(targets_.sizes(),
                        -std::numeric_limits<double>::infinity(), at::kDouble)),
      of_targets_(at::zeros(targets_.sizes(), at::kDouble)) {}

at::Tensor VocabularyPass::logits(int64_t begin, int64_t count) {
  const at::Tensor logits = model_.head(hidden_, begin, count);
  count_loss(logits, begin);
  return logits;
}

void VocabularyPass::count_loss(const at::Tensor& logits, int64_t begin) {
  const int64_t count = logits.size(2);
  log_sum_ = at::logaddexp(log_sum_, logits.logsumexp(2).to(at::kDouble));
  const at::Tensor here =
      targets_.ge(begin).logical_and(targets_.lt(begin + count));
  const at::Tensor index = (targets_ - begin).clamp(0, count - 1);
  const at::Tensor found =
      logits.gather(2, index.unsqueeze(2)).squeeze(2).to(at::kDouble);
  of_targets_ = at::where(here, found, of_targets_);
}

at::Tensor VocabularyPass::losses() const { return log_sum_ - of_targets_; }

double VocabularyPass::loss() const { return losses().mean().item<double>(); }

int64_t vocabulary_part(int64_t hidden_size, int64_t tokens) {
  constexpr int64_t kEntries = int64_t{1} << 22;  // 32 MB in fp64
  return std::max<int64_t>(1, kEntries / std::max(hidden_size, tokens));
}

}  // namespace annuli::verify
