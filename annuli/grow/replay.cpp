#include "annuli/grow/replay.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include "annuli/config/field.h"
#include "annuli/core/error.h"

namespace annuli::grow {
namespace {

// [D] as a list, [R, D] as a list of lists.
Json numbers_of(const at::Tensor& tensor) {
  if (tensor.dim() == 2) {
    Json rows = Json::array();
    for (int64_t i = 0; i < tensor.size(0); ++i) {
      rows.push_back(numbers_of(tensor[i]));
    }
    return rows;
  }
  const at::Tensor values = tensor.to(at::kCPU, at::kDouble).contiguous();
  const double* data = values.const_data_ptr<double>();
  return std::vector<double>(data, data + values.numel());
}

at::Tensor tensor_of(const Json& numbers) {
  if (numbers.empty() || !numbers[0].is_array()) {
    return at::tensor(numbers.get<std::vector<double>>(), at::kDouble);
  }
  std::vector<at::Tensor> rows;
  for (const Json& row : numbers) {
    rows.push_back(tensor_of(row));
    if (rows.back().sizes() != rows.front().sizes()) {
      user_error("router_mean has rows of different lengths");
    }
  }
  return at::stack(rows);
}

template <typename Enum>
Enum word_from(const Json& json, const char* key) {
  const auto word = json.at(key).get<std::string>();
  const auto value = value_of<Enum>(word);
  if (!value)
    user_error("{} is '{}', expected {}", key, word, words_of<Enum>());
  return *value;
}

void read_replay(const Json& replay, FolderOrder& order) {
  order.weights.max_shard_bytes = replay.at("max_shard_bytes");
  order.state.optimizer = word_from<OptimizerState>(replay, "optimizer");
  order.state.dynamics = word_from<Dynamics>(replay, "dynamics");
  if (replay.contains("dtype")) {
    const auto name = replay.at("dtype").get<std::string>();
    order.weights.dtype = dtype_from_name(name);
    if (!order.weights.dtype) {
      user_error("dtype is '{}', expected an element type", name);
    }
  }
  for (const Json& mean : replay.value("router_mean", Json::array())) {
    order.weights.router_mean.push_back(tensor_of(mean));
  }
}

}  // namespace

Json replay_of(const FolderOrder& order) {
  Json replay = {{"max_shard_bytes", order.weights.max_shard_bytes},
                 {"optimizer", std::string(word_of(order.state.optimizer))},
                 {"dynamics", std::string(word_of(order.state.dynamics))}};
  if (order.weights.dtype) {
    replay["dtype"] = dtype_name(*order.weights.dtype);
  }
  for (const at::Tensor& mean : order.weights.router_mean) {
    replay["router_mean"].push_back(numbers_of(mean));
  }
  return replay;
}

void apply_replay(const LineageRecord& record, const std::string& where,
                  FolderOrder& order) {
  try {
    read_replay(record.replay, order);
  } catch (const UserError& error) {
    user_error("reading the lineage in {}: {}", where, error.what());
  } catch (const std::exception& error) {
    user_error(
        "reading the lineage in {}: its last record is no growth that "
        "can be replayed: {}",
        where, error.what());
  }
}

}  // namespace annuli::grow
