#include <fmt/core.h>

#include <memory>
#include <string>
#include <system_error>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/state_folder.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/inspect_pair.h"
#include "annuli/cli/inspect_run.h"
#include "annuli/config/model_path.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/data/token_file.h"

namespace annuli::cli {
namespace {

struct InspectOptions {
  std::string path;
  std::string other;
  bool json = false;
  bool tensors = false;
};

void print_tensors(const Json& tensors) {
  fmt::print("\ntensors\n");
  for (const Json& tensor : tensors) {
    fmt::print("  {:<4} {:<20} {}\n", tensor.at("dtype").get<std::string>(),
               tensor.at("shape").dump(), tensor.at("name").get<std::string>());
  }
}

void print_parameters(const Json& parameters) {
  const auto total = parameters.at("total").get<int64_t>();
  const auto active = parameters.at("active").get<int64_t>();
  fmt::print("parameters    {} ({} active per token)\n",
             format_count(static_cast<double>(total)),
             format_count(static_cast<double>(active)));
}

// Names as in config.json; objects in it repeat what stands beside them.
void print_config(const Json& config) {
  fmt::print("\nconfig\n");
  for (const auto& [key, value] : config.items()) {
    if (!value.is_structured()) fmt::print("  {:<24} {}\n", key, value.dump());
  }
}

void print_model(const Json& model, bool with_tensors) {
  fmt::print("{}: model ({})\n", model.at("path").get<std::string>(),
             model.at("format") == "pt"     ? ".pt file"
             : model.at("format") == "gguf" ? "GGUF file"
                                            : "folder");
  print_parameters(model.at("parameters"));
  fmt::print("tensors       {}, {}\n", model.at("tensors").size(),
             format_bytes(model.at("bytes").get<double>()));
  if (const Json tokenizer = model.at("extra").value("tokenizer", Json());
      tokenizer.is_object()) {
    fmt::print("tokenizer     {}\n", tokenizer.value("name", "?"));
  }
  for (const Json& fault : model.at("faults")) {
    fmt::print("FAULT         {}\n", fault.get<std::string>());
  }
  print_config(model.at("config"));
  if (model.contains("lineage")) print_lineage(model.at("lineage"));
  if (with_tensors) print_tensors(model.at("tensors"));
}

Json describe_token_file(const fs::path& path) {
  const data::TokenFile file(path);
  Json json = {{"path", path.string()},
               {"format", "tokens"},
               {"tokens", file.token_count()},
               {"documents", file.document_count()},
               {"text_bytes", file.text_bytes()},
               {"vocab_size", file.vocab_size()},
               {"tokenizer_hash", file.tokenizer_hash()},
               {"inputs_hash", file.inputs_hash()}};
  if (file.borders()) {
    json["begin_ids"] = file.borders()->begin;
    json["end_ids"] = file.borders()->end;
  }
  return json;
}

Json describe_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  return {{"path", path.string()},
          {"format", "safetensors"},
          {"bytes", total_bytes(file.entries())},
          {"tensors", to_json(file.entries())},
          {"metadata", file.metadata()}};
}

void print_fields(const Json& description, const char* what) {
  fmt::print("{}: {}\n", description.at("path").get<std::string>(), what);
  for (const auto& [key, value] : description.items()) {
    if (key == "path" || key == "format" || value.is_structured()) continue;
    fmt::print("{:<14} {}\n", key,
               value.is_string() ? value.get<std::string>() : value.dump());
  }
}

Json describe(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return inspect_model(find_model(path, "inspecting"));
  }
  if (is_run_folder(path)) return describe_run(path);
  if (is_training_state(path)) return describe_training_state(path);
  if (fs::is_directory(path, ignored)) return inspect_model(path);
  if (data::TokenFile::has_magic(path)) return describe_token_file(path);
  if (path.extension() == ".safetensors") return describe_safetensors(path);
  return inspect_model(path);
}

void print(const Json& description, bool with_tensors) {
  const std::string format = description.at("format");
  if (format == "run") return print_run(description);
  if (format == "training_state") return print_training_state(description);
  if (format == "tokens") return print_fields(description, "token file");
  if (format == "safetensors") {
    print_fields(description, "safetensors");
    return print_tensors(description.at("tensors"));
  }
  print_model(description, with_tensors);
}

void inspect(const InspectOptions& options) {
  try {
    if (!options.other.empty()) {
      const Json comparison = compare_paths(options.path, options.other);
      if (!options.json) return print_comparison(comparison, options.tensors);
      fmt::print("{}\n", pretty(comparison));
      return;
    }
    const Json description = describe(options.path);
    if (!options.json) return print(description, options.tensors);
    fmt::print("{}\n", pretty(description));
  } catch (const Json::exception& error) {
    // Records are looked at by key; one that lacks them is not ours.
    user_error("inspecting {}: a record is not as annuli writes it: {}",
               options.path, reason_of(error));
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect",
                         "Show what a checkpoint, a run or a token file holds, "
                         "or how two models differ");
  command
      ->add_option(
          "path", options->path,
          "A .pt or GGUF file; a model, run or training-state folder; a "
          "token file; a .safetensors file")
      ->required();
  command->add_option("other", options->other,
                      "A second model, compared with the first");
  command->add_flag("--tensors", options->tensors,
                    "List every tensor (--json always does)");
  command->add_flag("--json", options->json, "Print everything as JSON");
  command->footer(
      "Examples:\n  annuli inspect runs/seed/checkpoints/moe_model_final.pt\n"
      "  annuli inspect PARENT CHILD");
  command->callback([options] { inspect(*options); });
}

}  // namespace annuli::cli
