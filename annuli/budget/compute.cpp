#include "annuli/budget/compute.h"

#include "annuli/budget/size_ops.h"
#include "annuli/model/forward.h"

namespace annuli::budget {
namespace {

PassWork work_of(const ModelConfig& config, int64_t length) {
  const NumberTypes numbers;
  SizeOps pass(config, numbers, 1, length);
  Forward(config, pass).loss({}, {});
  return pass.work();
}

}  // namespace

double forward_flops(const ModelConfig& config, int64_t length) {
  const PassWork work = work_of(config, length);
  return 2 * (work.blocks + work.head) + work.attention;
}

double step_flops(const ModelConfig& config, const TrainPlan& train,
                  int64_t sequence_length, double frozen) {
  const PassWork work = work_of(config, sequence_length);
  const double blocks = 2 * work.blocks + work.attention;
  // Backward is twice forward; attention computes its scores once more.
  double token = 3 * (blocks + 2 * work.head) + work.attention / 2;
  token -= 2 * frozen;
  if (train.gradient_checkpointing) token += blocks;
  if (train.max_grad_norm > 0 && train.clip == ClipNorm::kTwoPass) token *= 2;
  return token * static_cast<double>(train.batch_size * sequence_length *
                                     train.gradient_accumulation_steps);
}

}  // namespace annuli::budget
