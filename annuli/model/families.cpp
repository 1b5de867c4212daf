#include "annuli/model/families.h"

namespace annuli {

FamilyNames family_names(const ModelConfig& config) {
  if (model_type(config) == "mixtral") {
    return {"block_sparse_moe", "w1", "w3", "w2"};
  }
  return {"mlp", "gate_proj", "up_proj", "down_proj"};
}

}  // namespace annuli
