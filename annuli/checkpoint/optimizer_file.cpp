#include "annuli/checkpoint/optimizer_file.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/optim/tensor_state.h"

namespace annuli {
namespace {

constexpr int kFormatVersion = 1;

struct Settings {
  OptimizerRows rows;
  std::string optimizer;
};

Settings read_settings(const fs::path& path) {
  const Json json = read_json(path);
  Settings settings;
  try {
    if (json.at("format_version") != kFormatVersion) {
      user_error("reading {}: format_version {}, expected {}", path.string(),
                 json.at("format_version").dump(), kFormatVersion);
    }
    settings.optimizer = json.at("optimizer");
    for (const auto& [name, row] : json.at("tensors").items()) {
      settings.rows[name] = optimizer_row_from_json(row);
    }
  } catch (const Json::exception& error) {
    user_error("reading {}: {}", path.string(), reason_of(error));
  }
  return settings;
}

}  // namespace

OptimizerRow row_of(const optim::TensorState& state) {
  return {.step = state.step,
          .lr_multiplier = state.lr_multiplier,
          .eps_multiplier = state.eps_multiplier,
          .weight_decay_multiplier = state.weight_decay_multiplier,
          .row_copies = state.row_copies,
          .column_copies = state.column_copies};
}

void set_row(optim::TensorState& state, const OptimizerRow& row) {
  state.step = row.step;
  state.lr_multiplier = row.lr_multiplier;
  state.eps_multiplier = row.eps_multiplier;
  state.weight_decay_multiplier = row.weight_decay_multiplier;
  state.row_copies = row.row_copies;
  state.column_copies = row.column_copies;
}

Json to_json(const OptimizerRow& row) {
  Json json = {{"step", row.step},
               {"lr_multiplier", row.lr_multiplier},
               {"eps_multiplier", row.eps_multiplier},
               {"weight_decay_multiplier", row.weight_decay_multiplier}};
  if (row.row_copies != 1 || row.column_copies != 1) {
    json["copies"] = {row.row_copies, row.column_copies};
  }
  return json;
}

OptimizerRow optimizer_row_from_json(const Json& json) {
  OptimizerRow row = {
      .step = json.at("step"),
      .lr_multiplier = json.at("lr_multiplier"),
      .eps_multiplier = json.at("eps_multiplier"),
      .weight_decay_multiplier = json.at("weight_decay_multiplier")};
  if (!json.contains("copies")) return row;
  json.at("copies").at(0).get_to(row.row_copies);
  json.at("copies").at(1).get_to(row.column_copies);
  if (row.row_copies < 1 || row.column_copies < 1) {
    user_error(
        "reading an optimizer's state: found copies {}, expected two numbers "
        "from 1 on",
        json.at("copies").dump());
  }
  return row;
}

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
    : tensors_(folder / kOptimizerTensors) {
  Settings settings = read_settings(folder / kOptimizerRows);
  rows_ = std::move(settings.rows);
  optimizer_ = std::move(settings.optimizer);
  for (const TensorEntry& entry : tensors_.entries()) check_part(entry);
}

// Codes are U8 and have scales beside them; all else is floating.
void OptimizerFile::check_part(const TensorEntry& entry) const {
  const size_t dot = entry.name.find('.');
  const std::string part = entry.name.substr(0, dot);
  const std::string tensor =
      dot == std::string::npos ? "" : entry.name.substr(dot + 1);
  const bool known = std::ranges::count(optim::part_names(), part) > 0;
  const bool codes = entry.dtype == at::kByte;
  const bool typed =
      codes ? part == "m" || part == "v" : at::isFloatingType(entry.dtype);
  const bool scaled = !codes || tensors_.contains(part + "_scales." + tensor);
  if (known && typed && scaled && rows_.contains(tensor)) return;
  user_error(
      "reading {}: '{}' is not the m, v or another part of a tensor that {} "
      "lists, in a type that it may have",
      tensors_.path().string(), entry.name, kOptimizerRows);
}

at::Tensor OptimizerFile::part(const std::string& part,
                               const std::string& tensor) const {
  const std::string name = part + "." + tensor;
  return tensors_.contains(name) ? tensors_.tensor(name) : at::Tensor();
}

void write_optimizer_rows(const fs::path& folder, const OptimizerRows& rows,
                          const std::string& optimizer) {
  Json tensors = Json::object();
  for (const auto& [name, row] : rows) tensors[name] = to_json(row);
  write_json(folder / kOptimizerRows, {{"format_version", kFormatVersion},
                                       {"optimizer", optimizer},
                                       {"tensors", tensors}});
}

}  // namespace annuli
