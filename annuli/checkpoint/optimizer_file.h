#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"

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

  bool operator==(const OptimizerRow&) const = default;
};
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
