#pragma once

#include <string>

#include "annuli/config/model_config.h"

// How each family of models names the tensors that families name differently.
// A new family is a new row in families.cpp.
namespace annuli {

struct FamilyNames {
  std::string mixture;  // the block that holds router and experts
  std::string gate;
  std::string up;
  std::string down;
};

FamilyNames family_names(const ModelConfig& config);

}  // namespace annuli
