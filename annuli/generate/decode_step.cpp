#include "annuli/generate/decode_step.h"

#include "annuli/model/forward.h"

namespace annuli::decoding {

RowOps::Value DecodeStep::stream(std::span<const Row> rows) {
  RowOps::Value x = Forward(config_, ops_).stream(rows);
  for (const Row& row : rows) row.cache->advance(1);
  return x;
}

at::Tensor DecodeStep::logits(std::span<const Row> rows) {
  Forward pass(config_, ops_);
  return pass.head(pass.final_norm(stream(rows)), 0, config_.vocab_size);
}

}  // namespace annuli::decoding
