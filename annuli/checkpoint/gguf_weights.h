#pragma once

#include <unordered_map>

#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/gguf/stored_model.h"

namespace annuli {

// The weights of a GGUF file of llama.cpp under the names of our tensor table
// (gguf/stored_model.h). Tensors that the file has as we do are views of it;
// those with other rows, or in blocks, are made when they are asked for, one at
// a time. UserError for whatever is no model of ours.
class GgufWeights : public MappedTensors {
 public:
  explicit GgufWeights(fs::path path);

  const Json& config_json() const { return model_.config_json(); }
  // What the user should know of the types; "" if nothing.
  const std::string& note() const { return model_.note(); }

 private:
  at::Tensor made(const TensorEntry& entry) const override;

  gguf::StoredModel model_;
  std::unordered_map<std::string, size_t> row_;  // name -> row of the model
};

}  // namespace annuli
