#pragma once

#include <array>
#include <memory>
#include <string>

#include "tests/faults/scenario.h"

// The scenarios, each made, with its undisturbed start, when it is first asked
// for. They live as long as this object.
namespace annuli::faults {

class Scenes {
 public:
  static constexpr size_t kOperators = 3;

  // `plan` is what `training` runs.
  Scenes(std::string plan, fs::path root);

  const Training& training();
  const Training& quick();  // plans/quick.yaml
  const Growth& growth(size_t operation);

  const fs::path& root() const { return root_; }

 private:
  const fs::path& parent();

  std::string plan_;
  fs::path root_;
  fs::path parent_;
  std::unique_ptr<Training> training_;
  std::unique_ptr<Training> quick_;
  std::array<std::unique_ptr<Growth>, kOperators> growth_;
};

}  // namespace annuli::faults
