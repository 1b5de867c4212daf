#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>

#include "annuli/config/model_config.h"
#include "annuli/core/json.h"

namespace annuli::gguf {

// A model that is exported, whatever holds it: its table's tensors are asked
// for one at a time, and `release` is called when one was written.
struct SourceModel {
  std::filesystem::path path;
  bool is_folder = false;  // with files of its own beside the weights
  Json config_json;
  ModelConfig config;
  std::function<at::Tensor(const std::string& name)> tensor;
  std::function<void()> release;
};

}  // namespace annuli::gguf
