#pragma once

#include <memory>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/config/phase_plan.h"

namespace annuli::cli {

// The models that something is grown from, in the recipe's order. Open as long
// as this lives.
class ParentFiles {
 public:
  // UserError if one cannot be read.
  ParentFiles(const std::string& first, const std::vector<std::string>& with);

  const ModelFile& first() const { return *files_.front(); }
  std::vector<const ModelFile*> all() const;

 private:
  std::vector<std::unique_ptr<ModelFile>> files_;
};

// The further parents that a growth names: those of `merge_experts`, which in a
// chain comes first.
std::vector<std::string> further_parents(const GrowPlan& plan);

}  // namespace annuli::cli
