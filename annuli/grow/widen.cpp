#include "annuli/grow/widen.h"

#include "annuli/config/grown_shape.h"
#include "annuli/grow/head_layout.h"

namespace annuli::grow {
namespace {

// As many whole copies as fit; the rest is new.
std::vector<Slice> fill(int64_t size, int64_t child_size) {
  std::vector<Slice> slices = tile(size, child_size / size);
  if (child_size % size != 0) slices.push_back({kNew, child_size % size});
  return slices;
}

}  // namespace

GrowthRule widen_rule(const WidenOptions& options, const ModelConfig& parent,
                      const ModelConfig& child) {
  const HeadLayout heads =
      head_layout(parent.num_attention_heads, parent.num_key_value_heads,
                  child.num_attention_heads, child.num_key_value_heads);
  GrowthRule growth;
  AxisRule& rule = growth.axes;
  rule.axes = {
      {Axis::kResidual, fill(parent.hidden_size, child.hidden_size)},
      {Axis::kHead, heads.heads},
      {Axis::kKvHead, heads.kv_heads},
      {Axis::kFfn, fill(parent.intermediate_size, child.intermediate_size)},
  };
  if (parent.has_shared_expert()) {
    rule.axes[Axis::kSharedFfn] = fill(parent.shared_expert_intermediate_size,
                                       child.shared_expert_intermediate_size);
  }
  if (options.noise_snr_db) {
    rule.transforms.push_back(cancelling_noise(*options.noise_snr_db));
  }
  rule.carry_kv_state = !heads.splits_groups;
  return growth;
}

}  // namespace annuli::grow
