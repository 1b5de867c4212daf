#include <fmt/core.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/lineage_recipe.h"
#include "annuli/cli/model_tokenizer.h"
#include "annuli/cli/options.h"
#include "annuli/cli/verify_probe.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/run/console.h"
#include "annuli/verify/infer_recipe.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::cli {
namespace {

struct VerifyOptions {
  std::string parent;
  std::string child;
  std::vector<std::string> text;
  std::string tokenizer;
  ProbeShape shape;
  double loss_budget = 0.5;
  std::string dtype;
  std::string json;
  std::vector<std::string> allow;
};

// A child's recipe and how it is known.
struct KnownRecipe {
  grow::Recipe recipe;
  std::string source;
};

void require_same_vocabulary(const ModelFile& parent, const ModelFile& child) {
  if (parent.config().vocab_size == child.config().vocab_size) return;
  user_error(
      "verifying {}: it has {} tokens, but {} has {}; expected a model and "
      "what was grown from it",
      child.path().string(), child.config().vocab_size, parent.path().string(),
      parent.config().vocab_size);
}

NamedProbe make_probe(const VerifyOptions& options, const ModelFile& parent) {
  if (options.text.empty()) {
    return random_probe(options.shape, parent.config().vocab_size);
  }
  return text_probe(options.shape, options.text,
                    *tokenizer_of(parent, options.tokenizer));
}

const LineageRecord* last_record(const ModelFile& model) {
  const std::optional<Lineage>& lineage = model.lineage();
  return lineage && !lineage->empty() ? &lineage->back() : nullptr;
}

// By the child's own record, if it is of a growth of this very parent; else by
// comparing the two.
KnownRecipe find_recipe(const ModelFile& file, const Transformer& parent,
                        const verify::ParentRecord& record,
                        const Transformer& child) {
  const LineageRecord* last = last_record(file);
  if (last == nullptr || !is_growth(*last) ||
      last->parent != content_hash(parent)) {
    return {verify::infer_recipe(parent.config(), record.sketches, child),
            "inferred from the two models"};
  }
  grow::Recipe recipe = recipe_of(*last, parent.config(), file.path().string());
  if (!(recipe.child == child.config())) {
    user_error(
        "reading the lineage of {}: {} {} does not give the config in the file",
        file.path().string(), last->op, last->arguments.dump());
  }
  return {std::move(recipe), "from the child's lineage"};
}

void print_head(const NamedProbe& probe, const KnownRecipe& known,
                const ModelFile& child) {
  fmt::print("growth: {} {} ({})\nprobe: {}\n", known.recipe.op,
             known.recipe.arguments.dump(), known.source, probe.name);
  const LineageRecord* last = last_record(child);
  if (last != nullptr && last->op == "train") {
    fmt::print(
        "note: the child was trained after it was grown; it is not expected "
        "to compute what its parent does\n");
  }
}

void write_report(const VerifyOptions& options, const KnownRecipe& known,
                  const std::vector<verify::Verdict>& verdicts) {
  Json list = Json::array();
  for (const verify::Verdict& verdict : verdicts) {
    list.push_back(verify::to_json(verdict));
  }
  write_json(options.json, {{"parent", options.parent},
                            {"child", options.child},
                            {"operator", known.recipe.op},
                            {"arguments", known.recipe.arguments},
                            {"recipe", known.source},
                            {"verdicts", list}});
}

void verify_models(const VerifyOptions& options) {
  const ModelFile parent_file(options.parent);
  const ModelFile child_file(options.child);
  require_same_vocabulary(parent_file, child_file);
  const NamedProbe probe = make_probe(options, parent_file);
  const Transformer parent = load_model(
      parent_file, {.dtype = parse_dtype(options.dtype), .mapped = true});
  Transformer child = load_model(child_file, {.dtype = parent.dtype()});

  const bool widens = child.config().hidden_size > parent.config().hidden_size;
  auto record = verify::ParentRecord::take(parent, probe.probe, widens);
  const KnownRecipe known = find_recipe(child_file, parent, record, child);
  print_head(probe, known, child_file);
  // A random router's rows are orthogonal to the mean over the probe of the
  // run that made it, which is not this one.
  record.feed_forward_mean.clear();
  std::optional<verify::SymmetryControl> control;
  if (known.recipe.has_noise()) {
    control = verify::symmetry_control(parent, known.recipe, probe.probe);
  }
  auto verdicts =
      verify::verify_growth({.parent = record,
                             .recipe = known.recipe,
                             .probe = probe.probe,
                             .control = control ? &*control : nullptr,
                             .loss_budget = options.loss_budget},
                            child);
  verify::allow(verdicts, options.allow);
  run::print_verdicts(verdicts);
  if (!options.json.empty()) write_report(options, known, verdicts);
  verify::require(verdicts);
}

void add_probe_options(CLI::App& command, VerifyOptions& options) {
  command.add_option("--text", options.text,
                     "Text of the probe: files, folders, globs (default: "
                     "random tokens)");
  add_tokenizer(command, options.tokenizer);
  command
      .add_option("--windows", options.shape.windows, "Windows of the probe")
      ->check(whole_number_from(1))
      ->capture_default_str();
  command.add_option("--length", options.shape.length, "Tokens in a window")
      ->check(whole_number_from(1))
      ->capture_default_str();
  command
      .add_option("--router-tokens", options.shape.router_tokens,
                  "Tokens on which the experts' load is counted")
      ->check(whole_number_from(1))
      ->capture_default_str();
}

}  // namespace

void add_verify_command(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Prove or refute that a grown model computes its parent's function");
  command->add_option("parent", options->parent, "A .pt file or a model folder")
      ->required();
  command->add_option("child", options->child, "What was grown from it")
      ->required();
  add_probe_options(*command, *options);
  command
      ->add_option("--loss-budget", options->loss_budget,
                   "Nats that a growth which is not exact may cost")
      ->capture_default_str();
  add_dtype(*command, options->dtype);
  command->add_option("--json", options->json,
                      "Write the verdicts to this file");
  command
      ->add_option("--allow", options->allow,
                   "A check whose failure is only a warning; repeatable")
      ->allow_extra_args(false)
      ->check(CLI::IsMember(check_names()));
  command->footer(
      "Example:\n  annuli verify runs/seed/checkpoints/dense_model.pt "
      "runs/seed/checkpoints/moe_model_init.pt --text build/data/shakespeare");
  command->callback([options] { verify_models(*options); });
}

}  // namespace annuli::cli
