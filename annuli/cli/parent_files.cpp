#include "annuli/cli/parent_files.h"

namespace annuli::cli {

ParentFiles::ParentFiles(const std::string& first,
                         const std::vector<std::string>& with) {
  files_.push_back(std::make_unique<ModelFile>(first));
  for (const std::string& path : with) {
    files_.push_back(std::make_unique<ModelFile>(path));
  }
}

std::vector<const ModelFile*> ParentFiles::all() const {
  std::vector<const ModelFile*> all;
  for (const auto& file : files_) all.push_back(file.get());
  return all;
}

std::vector<std::string> further_parents(const GrowPlan& plan) {
  const GrowthStep& first = plan.chain.empty() ? plan : plan.chain.front();
  return first.merge_experts ? first.merge_experts->with
                             : std::vector<std::string>();
}

}  // namespace annuli::cli
