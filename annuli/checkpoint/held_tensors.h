#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/checkpoint/tensor_entry.h"

namespace annuli {

// Tensors that are in memory, told as those of a file are. They are handed out
// as they are: nothing is copied, and who has one shares its memory.
//
// State: names and tensors. A tensor may be let go before the others, with
// which its name stays.
class HeldTensors final : public MappedTensors {
 public:
  // `name` stands for the file in errors. UserError for a name that is there
  // twice. Dense tensors of the host, of any strides.
  HeldTensors(const fs::path& name, const std::vector<NamedTensor>& tensors);

  // Lets go of it; it must not be asked for any more.
  void release(const std::string& name) { held_.erase(name); }

 private:
  at::Tensor made(const TensorEntry& entry) const override;

  std::unordered_map<std::string, at::Tensor> held_;
};

}  // namespace annuli
