#include "annuli/optim/state_layout.h"

#include <algorithm>
#include <string_view>

#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/optim/newton_schulz.h"
#include "annuli/kernels/quantize/block_quantization.h"
#include "annuli/model/tensor_part.h"

namespace annuli::optim {
namespace {

using kernels::Codes;
using Layout = std::vector<StatePart>;

int64_t numel(const std::vector<int64_t>& shape) {
  int64_t entries = 1;
  for (const int64_t size : shape) entries *= size;
  return entries;
}

Layout coded_moments(const std::vector<int64_t>& shape) {
  const int64_t blocks = kernels::quantized_blocks(numel(shape));
  return {{"m", at::kByte, shape},
          {"m_scales", at::kFloat, {blocks}},
          {"v", at::kByte, shape},
          {"v_scales", at::kFloat, {blocks}}};
}

Layout adafactor(const TensorSpec& spec, at::ScalarType full) {
  const std::vector<int64_t> shape = spec.shape();
  if (!spec.is_matrix()) return {{"v", full, shape}};
  return {{"v_rows", full, {shape[0]}}, {"v_columns", full, {shape[1]}}};
}

}  // namespace

int64_t matrices_in(const TensorSpec& spec) {
  return spec.part == Part::kQkv ? 3 : 1;
}

bool has_orthogonal_update(const OptimizerPlan& plan, const TensorSpec& spec) {
  if (plan.type != OptimizerType::kMuon || !spec.is_matrix()) return false;
  const TensorPart part = tensor_part(spec);
  return part == TensorPart::kAttention || part == TensorPart::kFeedForward;
}

std::vector<int64_t> update_entries(const OptimizerPlan& plan,
                                    const TensorSpec& spec) {
  if (!has_orthogonal_update(plan, spec)) return {};
  const int64_t parts = matrices_in(spec);
  const std::vector<int64_t> shape = spec.shape();
  std::vector<int64_t> held =
      kernels::orthogonalize_entries(shape[0] / parts, shape[1]);
  if (parts > 1) held.push_back(spec.numel());  // they are taken out of it
  return held;
}

Layout state_layout(const OptimizerPlan& plan, const TensorSpec& spec,
                    at::ScalarType weights) {
  if (!is_trained(spec.part)) return {};
  const std::vector<int64_t> shape = spec.shape();
  const at::ScalarType full = weights == at::kDouble ? at::kDouble : at::kFloat;
  const at::ScalarType kept =
      plan.state_dtype == StateDtype::kBf16 ? at::kBFloat16 : full;
  switch (plan.type) {
    case OptimizerType::kMuon:
      if (has_orthogonal_update(plan, spec)) return {{"m", kept, shape}};
      [[fallthrough]];
    case OptimizerType::kAdamw:
      return {{"m", kept, shape}, {"v", kept, shape}};
    case OptimizerType::kAdamw8bit:
      if (spec.is_matrix() && spec.numel() >= kLeastCodedEntries) {
        return coded_moments(shape);
      }
      return {{"m", full, shape}, {"v", full, shape}};
    case OptimizerType::kAdafactor:
      return adafactor(spec, full);
    case OptimizerType::kSgd:
      return plan.momentum > 0 ? Layout{{"m", kept, shape}} : Layout{};
  }
  return {};
}

int64_t optimizer_state_bytes(const OptimizerPlan& plan, const TensorSpec& spec,
                              Precision precision) {
  const at::ScalarType weights =
      precision == Precision::kFp64 ? at::kDouble : at::kFloat;
  int64_t bytes = 0;
  for (const StatePart& part : state_layout(plan, spec, weights)) {
    bytes +=
        numel(part.shape) * static_cast<int64_t>(c10::elementSize(part.dtype));
  }
  return bytes;
}

namespace {

const StatePart* find(const Layout& layout, std::string_view name) {
  const auto found = std::ranges::find_if(
      layout, [&](const StatePart& part) { return part.name == name; });
  return found == layout.end() ? nullptr : &*found;
}

// A moment that is there in another form than the layout's: numbers in another
// type, or codes instead of numbers, or numbers instead of codes.
void convert(at::Tensor& moment, at::Tensor& scales, Codes kind,
             const StatePart* wanted) {
  if (!moment.defined() || wanted == nullptr ||
      moment.scalar_type() == wanted->dtype) {
    return;
  }
  // Codes are the host's alone.
  at::Tensor numbers =
      scales.defined() ? kernels::dequantize(moment.cpu(), scales.cpu(), kind)
                             .to(moment.device())
                       : moment;
  scales.reset();
  if (wanted->dtype == at::kByte) {
    kernels::Quantized coded =
        kernels::quantize(numbers.to(at::kFloat).contiguous(), kind);
    moment = std::move(coded.codes);
    scales = std::move(coded.scales);
  } else {
    moment = kernels::owned_copy(numbers.to(wanted->dtype));
  }
}

}  // namespace

void adopt(TensorState& state, const Layout& layout, at::Device device) {
  convert(state.m, state.m_scales, Codes::kSigned, find(layout, "m"));
  convert(state.v, state.v_scales, Codes::kUnsigned, find(layout, "v"));
  visit_parts(state, [&](std::string_view name, at::Tensor& tensor) {
    const StatePart* part = find(layout, name);
    if (part == nullptr) {
      tensor.reset();
    } else if (!tensor.defined()) {
      tensor = kernels::owned_zeros(part->shape, part->dtype, device);
    }
  });
}

}  // namespace annuli::optim
