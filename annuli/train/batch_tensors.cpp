#include "annuli/train/batch_tensors.h"

#include <ATen/ops/from_blob.h>

namespace annuli::train {
namespace {

at::Tensor to_tensor(const std::vector<int64_t>& ids, const data::Batch& batch,
                     at::Device device) {
  return at::from_blob(const_cast<int64_t*>(ids.data()),
                       {batch.batch_size, batch.sequence_length}, at::kLong)
      .clone()
      .to(device);
}

}  // namespace

at::Tensor tokens_of(const data::Batch& batch, at::Device device) {
  return to_tensor(batch.tokens, batch, device);
}

at::Tensor targets_of(const data::Batch& batch, at::Device device) {
  return to_tensor(batch.targets, batch, device);
}

at::Tensor documents_of(const data::Batch& batch) {
  if (batch.documents.empty()) return {};
  return to_tensor(batch.documents, batch, at::kCPU);
}

}  // namespace annuli::train
