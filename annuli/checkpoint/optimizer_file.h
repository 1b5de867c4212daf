#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/core/json.h"
#include "annuli/optim/tensor_state.h"

// The optimizer's state beside the weights of a model folder:
//   optimizer.safetensors  its parts, "<part>.<tensor>": m and v, and what else
//                          there is (optim/tensor_state.h)
//   optimizer.json         which optimizer it is, and per tensor its step
//                          counter and multipliers
// A part that is not there is zero.
namespace annuli {

struct OptimizerRow {
  int64_t step = 0;
  double lr_multiplier = 1;
  double eps_multiplier = 1;
  double weight_decay_multiplier = 1;
  int64_t row_copies = 1;  // 1 where the file does not say
  int64_t column_copies = 1;

  bool operator==(const OptimizerRow&) const = default;
};
// What is not in tensors of a state, and the way back.
OptimizerRow row_of(const optim::TensorState& state);
void set_row(optim::TensorState& state, const OptimizerRow& row);
// As optimizer.json and training states hold it. Reading throws Json::exception
// and, where copies are no positive numbers, UserError.
Json to_json(const OptimizerRow& row);
OptimizerRow optimizer_row_from_json(const Json& json);

using OptimizerRows = std::map<std::string, OptimizerRow>;

inline constexpr const char* kOptimizerTensors = "optimizer.safetensors";
inline constexpr const char* kOptimizerRows = "optimizer.json";

class OptimizerFile {
 public:
  // Null if the folder holds none. UserError if it is damaged: half of it, keys
  // missing, tensors that are no parts, codes without scales.
  static std::unique_ptr<OptimizerFile> open(const fs::path& folder);

  const OptimizerRows& rows() const { return rows_; }
  // The plan's word for the optimizer, "adamw".
  const std::string& optimizer() const { return optimizer_; }
  // A view of the mapping, as MappedTensors::tensor; undefined if it is not
  // there.
  at::Tensor part(const std::string& part, const std::string& tensor) const;
  const MappedTensors& tensors() const { return tensors_; }

 private:
  explicit OptimizerFile(const fs::path& folder);

  void check_part(const TensorEntry& entry) const;

  SafetensorsFile tensors_;
  OptimizerRows rows_;
  std::string optimizer_;
};

void write_optimizer_rows(const fs::path& folder, const OptimizerRows& rows,
                          const std::string& optimizer);

}  // namespace annuli
