#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/cli/command_inputs.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/cli/parent_files.h"
#include "annuli/cli/verify_map.h"
#include "annuli/cli/verify_probe.h"
#include "annuli/core/error.h"
#include "annuli/data/text_paths.h"
#include "annuli/grow/arguments.h"
#include "annuli/run/console.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/verify_folders.h"

namespace annuli::cli {
namespace {

struct VerifyOptions {
  std::string parent;
  std::string child;
  std::vector<std::string> with;  // further parents
  std::vector<std::string> text;
  std::string tokenizer;
  ProbeShape shape;
  int64_t tokens = 0;                 // 0: shape.windows windows
  std::optional<double> loss_budget;  // unset: the operator's
  std::string dtype;
  std::string map;
  std::string json;
  std::vector<std::string> allow;
};

// Null and why, if the child is there but cannot be read: that is a verdict.
std::unique_ptr<ModelFile> open_child(const fs::path& path, std::string& why) {
  std::error_code ignored;
  try {
    return std::make_unique<ModelFile>(path);
  } catch (const UserError& error) {
    if (!fs::exists(path, ignored)) throw;
    why = error.what();
    return nullptr;
  }
}

ProbeShape probe_shape(const VerifyOptions& options, const ModelConfig& child) {
  ProbeShape shape = options.shape;
  shape.router_tokens =
      std::max(shape.router_tokens, verify::router_tokens_needed(child));
  if (options.tokens > 0) {
    shape.length = std::min(shape.length, options.tokens);
    shape.windows = (options.tokens + shape.length - 1) / shape.length;
    shape.whole = true;
  }
  return shape;
}

// fp64 where it is asked for, or where the parent itself is stored so.
at::ScalarType arithmetic(const VerifyOptions& options,
                          const ModelFile& parent) {
  if (const auto asked = parse_dtype(options.dtype)) return *asked;
  const auto entries = parent.entries();
  const bool wide = std::ranges::any_of(
      entries, [](const TensorEntry& e) { return e.dtype == at::kDouble; });
  return wide ? at::kDouble : at::kFloat;
}

void print_head(const verify::FolderVerdicts& result, const std::string& source,
                const NamedProbe& probe, const ModelFile& child) {
  if (result.recipe) {
    fmt::print("growth: {} {} ({})\n", result.recipe->op,
               result.recipe->arguments.dump(), source);
  }
  fmt::print("probe: {}\n", in_words(probe, result.windows));
  const std::optional<Lineage>& lineage = child.lineage();
  if (lineage && !lineage->empty() && lineage->back().op == "train") {
    fmt::print(
        "note: the child was trained after it was grown; it is not expected "
        "to compute what its parent does\n");
  }
}

void write_report(const VerifyOptions& options,
                  const verify::FolderVerdicts& result,
                  const std::string& source) {
  Json report = {{"parent", options.parent},
                 {"child", options.child},
                 {"recipe", source},
                 {"verdicts", verify::to_json(result.verdicts)}};
  if (result.recipe) {
    report["operator"] = result.recipe->op;
    report["arguments"] = result.recipe->arguments;
  }
  write_json(options.json, report);
}

void conclude(const VerifyOptions& options, verify::FolderVerdicts& result,
              const std::string& source) {
  verify::allow(result.verdicts, options.allow);
  run::print_verdicts(result.verdicts);
  if (!options.json.empty()) write_report(options, result, source);
  verify::require(result.verdicts);
}

// The parents that the recipe is of: those given, or, where --with names none,
// those that the child's maker named.
ParentFiles parents_of(const VerifyOptions& options,
                       const std::optional<grow::Recipe>& recipe) {
  std::vector<std::string> with = options.with;
  if (with.empty() && recipe) {
    with = further_parents(grow::plan_of(recipe->op, recipe->arguments));
  }
  ParentFiles parents(options.parent, with);
  const auto given = static_cast<int64_t>(parents.all().size());
  if (recipe && given != recipe->models) {
    user_error(
        "verifying {}: it was made from {} models, found {}; name the others "
        "with --with",
        options.child, recipe->models, given);
  }
  return parents;
}

void check_report(const VerifyOptions& options) {
  if (options.json.empty()) return;
  InputPaths inputs;
  inputs.add("the parent", options.parent);
  inputs.add("the child", options.child);
  for (const std::string& model : options.with) inputs.add("--with", model);
  inputs.add("--map", options.map);
  add_tokenizer(inputs, options.tokenizer);
  data::add_text(inputs, "--text", options.text);
  check_output_file("writing the verdicts to", options.json, inputs, [&] {
    return has_json_keys(options.json,
                         {"parent", "child", "recipe", "verdicts"});
  });
}

void verify_models(const VerifyOptions& options) {
  check_report(options);
  const ModelFile parent(options.parent);
  std::string why;
  const auto child = open_child(options.child, why);
  if (child == nullptr) {
    verify::FolderVerdicts result{.verdicts = {verify::unreadable(why)}};
    return conclude(options, result, "the child cannot be read");
  }
  const KnownRecipe known = find_recipe(options.map, parent, *child);
  const ParentFiles parents = parents_of(options, known.recipe);
  const ProbeShape shape = probe_shape(options, child->config());
  const NamedProbe probe =
      make_probe(shape, options.text, options.tokenizer, parents.first());
  verify::FolderVerdicts result = verify::verify_folders(
      parents.all(), *child, known.recipe, probe.probe,
      {.arithmetic = arithmetic(options, parents.first()),
       .loss_budget = options.loss_budget,
       .whole_probe = shape.whole});
  print_head(result, known.source, probe, *child);
  conclude(options, result, known.source);
}

void add_probe_options(CLI::App& command, VerifyOptions& options) {
  command.add_option("--text", options.text,
                     "Text that both models are compared on: files, folders or "
                     "globs (default: the program's own text)");
  add_tokenizer(command, options.tokenizer);
  add_probe_shape(command, options.shape);
  command
      .add_option("--tokens", options.tokens,
                  "Number of tokens to compare on, instead of --windows")
      ->check(whole_number_from(1));
}

void add_growth_options(CLI::App& command, VerifyOptions& options) {
  command
      .add_option("--with", options.with,
                  "The other parents of a child of merge-experts, in the order "
                  "of the merge")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  command.add_option("--map", options.map,
                     "How the child was made: a JSON or YAML file with an "
                     "operator and its arguments, a list of them, a "
                     "lineage.json, or a recipe (default: the child's "
                     "lineage; without one it is recognised from shapes and "
                     "weights)");
  add_loss_budget(command, options.loss_budget);
}

}  // namespace

void add_verify_command(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Prove or refute that a grown model computes its parent's function");
  command
      ->add_option("parent", options->parent,
                   "A .pt or GGUF file, or a model folder")
      ->required();
  command
      ->add_option("child", options->child,
                   "The model that was grown from it: a .pt or GGUF file, or a "
                   "model folder")
      ->required();
  add_probe_options(*command, *options);
  add_growth_options(*command, *options);
  add_dtype(*command, options->dtype);
  command->add_option("--json", options->json,
                      "Write the verdicts to this file");
  add_allow(*command, options->allow);
  command->footer(
      "Example:\n  annuli verify runs/seed/checkpoints/dense_model.pt "
      "runs/seed/checkpoints/moe_model_init.pt --text build/data/shakespeare\n"
      "Neither model has to fit into memory. Exit status: 0 proved, 1 refuted "
      "(also a child that cannot be read), 2 wrong input.");
  command->callback([options] { verify_models(*options); });
}

}  // namespace annuli::cli
