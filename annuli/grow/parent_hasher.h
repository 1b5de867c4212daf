#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/worker.h"
#include "annuli/parallel/solo.h"

namespace annuli::grow {

// The content hashes of models that are being read: a tensor is hashed, beside
// everything else, when it is first needed, so that the disk reads it once.
class ParentHasher {
 public:
  // Of several processes each hashes what `is_own` says of a model's tensor.
  explicit ParentHasher(
      const std::vector<const ModelFile*>& models,
      std::function<bool(size_t model, const std::string& name)> is_own =
          [](size_t, const std::string&) { return true; });

  // Tensor `name` of a model is about to be read. Waits if hashing has fallen
  // far behind.
  void reading(size_t model, const std::string& name);

  // Hashes what was not read and returns the content hash of each model, on all
  // processes.
  std::vector<std::string> finish(
      parallel::ProcessGroup& group = parallel::solo());

 private:
  struct Model {
    const ModelFile* file;
    std::vector<std::string> names;   // rows of the table
    std::vector<std::string> hashes;  // of each
    std::set<std::string> begun;
  };

  std::vector<Model> models_;
  std::function<bool(size_t model, const std::string& name)> is_own_;
  Worker worker_;  // last: it uses the others
};

}  // namespace annuli::grow
