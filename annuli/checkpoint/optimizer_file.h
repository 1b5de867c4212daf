#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"

// AdamW's state beside the weights of a model folder:
//   optimizer.safetensors  m and v, "m.<tensor>" and "v.<tensor>"
//   optimizer.json         per tensor its step counter and multipliers
// A tensor without m and v has moments of zero.
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
  // missing, or tensors that are not m and v of one shape.
  static std::unique_ptr<OptimizerFile> open(const fs::path& folder);

  const OptimizerRows& rows() const { return rows_; }
  // 'm' or 'v' of a tensor has values of its own.
  bool has_moments(const std::string& tensor) const;
  // A view of the mapping, as MappedTensors::tensor.
  at::Tensor moment(char which, const std::string& tensor) const;
  const MappedTensors& tensors() const { return tensors_; }

 private:
  explicit OptimizerFile(const fs::path& folder);

  SafetensorsFile tensors_;
  OptimizerRows rows_;
};

void write_optimizer_rows(const fs::path& folder, const OptimizerRows& rows);

}  // namespace annuli
