#include "annuli/checkpoint/beside_table.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "annuli/config/quantization.h"

namespace annuli {
namespace {

constexpr int64_t kEntries = int64_t{1} << 21;  // looked at together

// Calls `look(begin, rows)` for blocks of rows until it returns true. A scalar
// is one row.
template <typename Look>
void by_rows(const at::Tensor& tensor, const Look& look) {
  const int64_t rows = tensor.dim() == 0 ? 1 : tensor.size(0);
  const int64_t width = rows == 0 ? 1 : tensor.numel() / rows;
  const int64_t step =
      std::max<int64_t>(1, kEntries / std::max<int64_t>(width, 1));
  for (int64_t begin = 0; begin < rows; begin += step) {
    if (look(begin, std::min(step, rows - begin))) return;
  }
}

at::Tensor rows_of(const at::Tensor& tensor, int64_t begin, int64_t rows) {
  const at::Tensor flat = tensor.dim() == 0 ? tensor.reshape({1, 1}) : tensor;
  return flat.narrow(0, begin, rows).reshape({rows, -1});
}

// The first true entry of a mask, or -1.
int64_t first_of(const at::Tensor& mask) {
  return mask.any().item<bool>() ? mask.nonzero()[0][0].item<int64_t>() : -1;
}

bool ends_with_any(const std::string& name,
                   std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(
      ends, [&](std::string_view end) { return name.ends_with(end); });
}

// Scales, zero points and packed weights of GPTQ, AWQ, bitsandbytes, FP8 and
// compressed-tensors.
bool is_of_quantization(const std::string& name) {
  return ends_with_any(
             name, {"_scale", "_scale_inv", ".weight_packed", ".weight_shape",
                    "_zero_point", ".qweight", ".qzeros", ".scales", ".g_idx",
                    ".absmax", ".quant_map", ".nested_absmax", ".SCB",
                    "_blocks", "_scales"}) ||
         name.find(".quant_state.") != std::string::npos;
}

}  // namespace

bool is_derived(const std::string& name) {
  return ends_with_any(name, {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                              "rotary_emb.sin_cached", ".attention.bias",
                              ".attention.masked_bias"});
}

std::optional<std::string> head_fault(const at::Tensor& head,
                                      const at::Tensor& table) {
  constexpr const char* kRemedy =
      "set 'tie_word_embeddings' to false in config.json if it is the model's "
      "own, or leave it out of the files";
  if (head.sizes() != table.sizes()) {
    return fmt::format("is {} and the embedding {}; {}",
                       to_string(head.sizes()), to_string(table.sizes()),
                       kRemedy);
  }
  const bool head_is_narrower = head.element_size() < table.element_size();
  const at::ScalarType narrow =
      head_is_narrower ? head.scalar_type() : table.scalar_type();
  std::optional<std::string> fault;
  by_rows(table, [&](int64_t begin, int64_t rows) {
    const at::Tensor a = rows_of(head, begin, rows).to(narrow);
    const at::Tensor b = rows_of(table, begin, rows).to(narrow);
    // Nothing is equal to NaN, but two of them are no difference.
    const at::Tensor numbers = (a == a).logical_or(b == b);
    const int64_t row = first_of((a != b).logical_and(numbers).any(1));
    if (row < 0) return false;
    fault = fmt::format(
        "differs from the embedding, first in row {}, though the config says "
        "that they are one (tie_word_embeddings); {}",
        begin + row, kRemedy);
    return true;
  });
  return fault;
}

bool is_all_zero(const at::Tensor& tensor) {
  bool zero = true;
  by_rows(tensor, [&](int64_t begin, int64_t rows) {
    zero = !(rows_of(tensor, begin, rows) != 0).any().item<bool>();
    return !zero;
  });
  return zero;
}

std::string unreadable_weights(const std::vector<TensorEntry>& entries) {
  for (const TensorEntry& entry : entries) {
    if (entry.name.find(".lora_A.") != std::string::npos) {
      return fmt::format(
          "an adapter was saved beside the weights and not merged (tensor "
          "'{}'); merge it first, with peft's merge_and_unload()",
          entry.name);
    }
    if (is_of_quantization(entry.name)) {
      return quantized(fmt::format("tensor '{}'", entry.name));
    }
  }
  return "";
}

std::optional<std::string> value_fault(const std::string& name,
                                       const at::Tensor& tensor) {
  std::optional<std::string> fault;
  by_rows(tensor, [&](int64_t begin, int64_t rows) {
    const at::Tensor block = rows_of(tensor, begin, rows);
    const int64_t row = first_of(at::isfinite(block).logical_not().any(1));
    if (row < 0) return false;
    const bool nan = at::isnan(block[row]).any().item<bool>();
    fault = fmt::format("tensor '{}' holds {} in row {}", name,
                        nan ? "NaN" : "an infinity", begin + row);
    return true;
  });
  return fault;
}

}  // namespace annuli
