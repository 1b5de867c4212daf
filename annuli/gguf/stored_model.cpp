#include "annuli/gguf/stored_model.h"

#include <ATen/ops/equal.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "annuli/config/family.h"
#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/gguf/decode.h"
#include "annuli/gguf/tensor_names.h"

namespace annuli::gguf {
namespace {

std::string shown(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Before a table of the config's size is made: a few bytes can claim any.
void require_size(const File& file, const ModelConfig& config) {
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string name = fmt::format("blk.{}.ffn_down{}.weight", layer,
                                         config.is_mixture() ? "_exps" : "");
    const Tensor* tensor = file.find_tensor(name);
    if (tensor == nullptr) refuse(file, "tensor {} is missing", quote(name));
    if (config.is_mixture() && tensor->shape.front() != config.num_experts) {
      refuse(file, "tensor {} is {}, expected {} experts", quote(name),
             shown(tensor->shape), config.num_experts);
    }
  }
}

// The shape that the file has of a row, of all experts together.
std::vector<int64_t> stored_shape(const TensorSpec& spec,
                                  const ModelConfig& config) {
  std::vector<int64_t> shape = spec.shape();
  if (spec.expert >= 0) shape.insert(shape.begin(), config.num_experts);
  return shape;
}

bool fits(const Tensor& tensor, const std::vector<int64_t>& expected,
          Part part) {
  if (tensor.shape == expected) return true;
  // A single output is a row of its own.
  return part == Part::kSharedGate &&
         tensor.shape == std::vector{expected.back()};
}

bool is_narrow(at::ScalarType dtype) {
  return dtype == at::kHalf || dtype == at::kBFloat16;
}

}  // namespace

StoredModel::StoredModel(File file)
    : file_(std::move(file)), stored_(stored_config(file_)) {
  require_size(file_, stored_.config);
  locate();
  choose_types();
}

void StoredModel::locate() {
  const ModelConfig& config = stored_.config;
  for (const TensorSpec& spec : tensor_table(config)) locate_row(spec);
  if (config.tie_word_embeddings && file_.find_tensor(kHead) != nullptr) {
    // The reader of models holds it against the table.
    TensorSpec head = tensor_table(config).front();
    head.name = std::string(family_of(config).names.head) + ".weight";
    head.part = Part::kHead;
    locate_row(head);
  }
  std::ranges::sort(used_);
  refuse_others();
}

void StoredModel::locate_row(const TensorSpec& spec) {
  const std::string name = name_of(spec);
  const Tensor* tensor = file_.find_tensor(name);
  const std::vector<int64_t> expected = stored_shape(spec, stored_.config);
  if (tensor == nullptr) {
    refuse(file_, "tensor {} is missing, expected {}", quote(name),
           shown(expected));
  }
  if (!fits(*tensor, expected, spec.part)) {
    refuse(file_, "tensor {} is {}, expected {}", quote(name),
           shown(tensor->shape), shown(expected));
  }
  StoredRow row{.name = spec.name,
                .part = spec.part,
                .shape = spec.shape(),
                .dtype = dtype_of(tensor->type),
                .type = tensor->type,
                .offset = tensor->offset,
                .bytes = tensor->bytes};
  if (spec.expert >= 0) {
    row.bytes = tensor->bytes / stored_.config.num_experts;
    row.offset += spec.expert * row.bytes;
  }
  row.as_it_is = !is_quantised(row.type) &&
                 !is_reordered(spec.part, *stored_.architecture);
  rows_.push_back(std::move(row));
  if (spec.expert <= 0) used_.push_back(name);
}

// What llama.cpp's loader wants where the model has none.
bool StoredModel::is_zero_bias(const Tensor& tensor) const {
  const bool lacks = stored_.architecture->needs_biases &&
                     (tensor.name.ends_with(".attn_qkv.bias") ||
                      tensor.name.ends_with(".attn_output.bias"));
  return lacks && std::ranges::all_of(file_.data_of(tensor), [](std::byte b) {
           return b == std::byte{0};
         });
}

void StoredModel::refuse_others() const {
  for (const Tensor& tensor : file_.tensors()) {
    const bool scaling =
        tensor.name == kRopeFactors &&
        stored_.config.rope_scaling.type == RopeScaling::Type::kLlama3;
    if (scaling || std::ranges::binary_search(used_, tensor.name) ||
        is_zero_bias(tensor)) {
      continue;
    }
    refuse(file_, "tensor {} {} is not part of the {} that the keys describe",
           quote(tensor.name), shown(tensor.shape), stored_.architecture->name);
  }
}

void StoredModel::choose_types() {
  std::map<std::string, int64_t> tensors;  // by type
  bool blocks = false;
  for (const Tensor& tensor : file_.tensors()) {
    ++tensors[traits_of(tensor.type).name];
    blocks = blocks || is_quantised(tensor.type);
  }
  if (blocks) {
    for (StoredRow& row : rows_) {
      row.as_it_is = row.as_it_is && row.dtype == at::kFloat;
      row.dtype = at::kFloat;
    }
    std::vector<std::string> words;
    for (const auto& [type, count] : tensors) {
      words.push_back(fmt::format("{} of {}", count, type));
    }
    note_ = fmt::format(
        "its tensors ({}) are dequantised, and the weights are f32 from here "
        "on",
        fmt::join(words, ", "));
    return;
  }
  std::set<at::ScalarType> types;
  for (const StoredRow& row : rows_) {
    const bool small = row.shape.size() < 2 || row.part == Part::kRouter ||
                       row.part == Part::kSharedGate;
    if (!small) types.insert(row.dtype);
  }
  if (types.size() == 1 && is_narrow(*types.begin())) {
    narrow_to(*types.begin());
  }
}

void StoredModel::narrow_to(at::ScalarType dtype) {
  std::vector<StoredRow*> wide;
  for (StoredRow& row : rows_) {
    if (row.dtype == dtype) continue;
    const at::Tensor numbers = make(row);
    if (!at::equal(numbers.to(dtype).to(at::kFloat), numbers.to(at::kFloat))) {
      return;
    }
    wide.push_back(&row);
  }
  for (StoredRow* row : wide) {
    row->dtype = dtype;
    row->as_it_is = false;
  }
}

at::Tensor StoredModel::make(const StoredRow& row) const {
  const Tensor slice{.offset = row.offset, .bytes = row.bytes};
  const at::Tensor stored = decode(row.type, file_.data_of(slice), row.shape);
  return out_of_order(stored, row.part, *stored_.architecture,
                      stored_.config.head_dim)
      .to(row.dtype)
      .contiguous();
}

}  // namespace annuli::gguf
