#include "annuli/checkpoint/optimizer_file.h"

#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 1;

OptimizerRow row_from(const Json& json) {
  return {.step = json.at("step"),
          .lr_multiplier = json.at("lr_multiplier"),
          .eps_multiplier = json.at("eps_multiplier"),
          .weight_decay_multiplier = json.at("weight_decay_multiplier")};
}

OptimizerRows read_rows(const fs::path& path) {
  const Json json = read_json(path);
  OptimizerRows rows;
  try {
    if (json.at("format_version") != kFormatVersion) {
      user_error("reading {}: format_version {}, expected {}", path.string(),
                 json.at("format_version").dump(), kFormatVersion);
    }
    for (const auto& [name, row] : json.at("tensors").items()) {
      rows[name] = row_from(row);
    }
  } catch (const Json::exception& error) {
    user_error("reading {}: {}", path.string(), error.what());
  }
  return rows;
}

}  // namespace

std::unique_ptr<OptimizerFile> OptimizerFile::open(const fs::path& folder) {
  std::error_code error;
  const bool tensors = fs::exists(folder / kOptimizerTensors, error);
  const bool rows = fs::exists(folder / kOptimizerRows, error);
  if (!tensors && !rows) return nullptr;
  if (tensors != rows) {
    user_error("reading the optimizer's state in {}: {} is missing",
               folder.string(), tensors ? kOptimizerRows : kOptimizerTensors);
  }
  return std::unique_ptr<OptimizerFile>(new OptimizerFile(folder));
}

OptimizerFile::OptimizerFile(const fs::path& folder)
    : tensors_(folder / kOptimizerTensors),
      rows_(read_rows(folder / kOptimizerRows)) {
  for (const TensorEntry& entry : tensors_.entries()) {
    const bool named =
        entry.name.starts_with("m.") || entry.name.starts_with("v.");
    const std::string tensor = entry.name.substr(named ? 2 : 0);
    const std::string other =
        (entry.name.starts_with("m.") ? "v." : "m.") + tensor;
    if (!named || !rows_.contains(tensor) || !tensors_.contains(other) ||
        tensors_.entry(other).shape != entry.shape ||
        !at::isFloatingType(entry.dtype)) {
      user_error(
          "reading {}: '{}' is not the m or v of a tensor with both, of one "
          "shape, that {} lists",
          tensors_.path().string(), entry.name, kOptimizerRows);
    }
  }
}

bool OptimizerFile::has_moments(const std::string& tensor) const {
  return tensors_.contains("m." + tensor);
}

at::Tensor OptimizerFile::moment(char which, const std::string& tensor) const {
  return tensors_.tensor(std::string(1, which) + "." + tensor);
}

void write_optimizer_rows(const fs::path& folder, const OptimizerRows& rows) {
  Json tensors = Json::object();
  for (const auto& [name, row] : rows) {
    tensors[name] = {{"step", row.step},
                     {"lr_multiplier", row.lr_multiplier},
                     {"eps_multiplier", row.eps_multiplier},
                     {"weight_decay_multiplier", row.weight_decay_multiplier}};
  }
  write_json(folder / kOptimizerRows, {{"format_version", kFormatVersion},
                                       {"optimizer", "adamw"},
                                       {"tensors", tensors}});
}

}  // namespace annuli
