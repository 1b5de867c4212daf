#pragma once

#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/verify/tensor_relation.h"

// What differs between two models on disk: settings, and tensors by name. A
// name that only the second has is looked for among the first's tensors of its
// shape, so that a new layer or expert is told to be the copy that it is.
namespace annuli::verify {

struct SettingDifference {
  std::string key;  // of config.json
  Json first;       // null if not there
  Json second;
};

struct TensorDifference {
  std::string name;
  std::vector<int64_t> first_shape;   // empty if not there
  std::vector<int64_t> second_shape;  // empty if not there
  std::string source;  // the first's tensor that the second's is made of
  std::string what;    // "equal", "2 x 2 copies, times 0.5", "new", "gone" ...
  TensorRelation relation;
};

struct ModelComparison {
  std::vector<SettingDifference> settings;
  std::vector<TensorDifference>
      tensors;  // in the second's order, gone ones last
};

ModelComparison compare_models(const ModelFile& first, const ModelFile& second);

Json to_json(const ModelComparison& comparison);

}  // namespace annuli::verify
