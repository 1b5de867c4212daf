#include "annuli/cli/grow_verb.h"

#include <fmt/core.h>

#include <chrono>
#include <memory>
#include <optional>

#include "annuli/checkpoint/output_folder.h"
#include "annuli/cli/grow_judge.h"
#include "annuli/cli/grow_report.h"
#include "annuli/cli/interrupt.h"
#include "annuli/cli/model_tokenizer.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/grow_folder.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/router_mean.h"

namespace annuli::cli {
namespace {

using Clock = std::chrono::steady_clock;

bool wants_mean(const grow::Recipe& recipe) {
  for (const grow::TensorRecipe& tensor : recipe.tensors) {
    if (tensor.source == grow::Source::kRandomRouter) return true;
  }
  return false;
}

NamedProbe probe_for(const GrowOptions& options, const ModelFile& parent) {
  if (options.text.empty()) {
    return random_probe(options.shape, parent.config().vocab_size);
  }
  return text_probe(options.shape, options.text,
                    *tokenizer_of(parent, options.tokenizer));
}

// A folder that is replaced must not be one that is read.
void check_out(const GrowOptions& options) {
  if (options.out.empty()) {
    user_error("growing {}: no --out; give the folder to write",
               options.parent);
  }
  std::error_code error;
  if (fs::equivalent(options.out, options.parent, error)) {
    user_error("growing {}: --out is the parent itself; choose another folder",
               options.parent);
  }
}

void print_done(const std::string& out, int64_t bytes,
                Clock::time_point start) {
  const double seconds =
      std::chrono::duration<double>(Clock::now() - start).count();
  fmt::print("wrote {}: {} in {}\n", out,
             format_bytes(static_cast<double>(bytes)),
             format_duration(seconds));
}

void dry_run(const GrowOptions& options, const grow::Recipe& recipe,
             const grow::FolderPlan& plan) {
  print_plan(recipe, plan, options.out.empty() ? "(no --out)" : options.out);
  if (options.tensor.empty()) {
    print_recipe(recipe);
  } else {
    print_tensor(recipe, options.tensor);
  }
  if (!options.json.empty()) {
    write_json(options.json, plan_json(recipe, plan, options.out));
  }
}

void write_child(const GrowOptions& options, const grow::FolderOrder& order,
                 const grow::FolderPlan& plan, OutputFolder& out) {
  const auto start = Clock::now();
  print_plan(order.weights.recipe, plan, options.out);
  const LineageRecord record = grow::grow_folder(order, plan, out);
  print_done(options.out, plan.bytes, start);
  if (options.json.empty()) return;
  Json json = plan_json(order.weights.recipe, plan, options.out);
  json["parent"] = record.parent;
  json["child"] = record.child;
  json["verdicts"] = record.verdicts;
  write_json(options.json, json);
}

}  // namespace

void grow_model(const GrowOptions& options) {
  const ModelFile parent(options.parent);
  const grow::Recipe recipe =
      grow::make_operator(options.plan)->recipe(parent.config(), options.seed);
  grow::FolderOrder order{
      .weights = {.recipe = recipe,
                  .parents = {&parent},
                  .dtype = grow::dtype_from_flag(options.dtype),
                  .max_shard_bytes = parse_bytes(options.max_shard_size)},
      .state = {options.plan.optimizer, options.plan.dynamics}};
  const grow::FolderPlan plan = plan_folder(order);
  if (options.dry_run) return dry_run(options, recipe, plan);
  if (recipe.needs_router_mean() && options.text.empty()) {
    user_error(
        "growing {}: a mean-orthogonal router needs the activations of some "
        "text; give --text FILE, or --router random",
        options.parent);
  }
  // What can be refused is refused before anything is computed.
  check_out(options);
  InterruptibleFolder out(options.out, options.force);

  std::optional<NamedProbe> probe;
  if (!options.no_verify || !options.text.empty()) {
    probe = probe_for(options, parent);
  }
  if (wants_mean(recipe) && !options.text.empty()) {
    order.weights.router_mean =
        grow::feed_forward_means(parent, probe->probe.router_tokens);
  }
  if (!options.no_verify) {
    order.judge = [&](const fs::path& child) {
      return judge_child({.parents = order.weights.parents,
                          .recipe = recipe,
                          .probe = *probe,
                          .loss_budget = options.loss_budget,
                          .allow = options.allow},
                         child);
    };
  }
  write_child(options, order, plan, *out);
}

void replay_growth(const GrowOptions& options) {
  const auto start = Clock::now();
  check_out(options);
  const Lineage lineage = read_lineage(options.replay);
  if (lineage.empty() || !grow::is_operator(lineage.back().op)) {
    user_error("replaying {}: its last record is not a growth", options.replay);
  }
  const ModelFile parent(options.parent);
  const LineageRecord& last = lineage.back();
  const grow::Recipe recipe = grow::recipe_of(
      last.op, last.arguments, parent.config(), last.seed, options.replay);
  grow::FolderOrder order{.weights = {.recipe = recipe, .parents = {&parent}}};
  grow::apply_replay(lineage.back(), options.replay, order);
  const grow::FolderPlan plan = plan_folder(order);
  InterruptibleFolder out(options.out, options.force);
  print_plan(recipe, plan, options.out);
  grow::replay_folder(order, plan, lineage, *out);
  print_done(options.out, plan.bytes, start);
}

}  // namespace annuli::cli
