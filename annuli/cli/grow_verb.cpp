#include "annuli/cli/grow_verb.h"

#include <fmt/core.h>

#include <chrono>
#include <memory>
#include <optional>

#include "annuli/checkpoint/output_folder.h"
#include "annuli/cli/grow_judge.h"
#include "annuli/cli/grow_report.h"
#include "annuli/cli/interrupt.h"
#include "annuli/cli/parent_files.h"
#include "annuli/config/class_notice.h"
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

// A folder that is replaced must not be one that is read.
void check_out(const GrowOptions& options,
               const std::vector<const ModelFile*>& parents) {
  if (options.out.empty()) {
    user_error("growing {}: no --out; give the folder to write",
               options.parent);
  }
  for (const ModelFile* parent : parents) {
    std::error_code error;
    if (fs::equivalent(options.out, parent->path(), error)) {
      user_error(
          "growing {}: --out is the parent itself; choose another "
          "folder",
          parent->path().string());
    }
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

// The further parents of a growth that is made again: from where they were, if
// they are not given.
std::vector<std::string> parents_again(const GrowOptions& options,
                                       const LineageRecord& record) {
  std::vector<std::string> recorded =
      further_parents(grow::plan_of(record.op, record.arguments));
  if (options.with.empty()) return recorded;
  if (options.with.size() != recorded.size()) {
    user_error("replaying {}: --with names {} models, expected {}", record.op,
               options.with.size(), recorded.size());
  }
  return options.with;
}

// Adds the proof, and the means of routers, to an order.
void complete(const GrowOptions& options, const NamedProbe& probe,
              grow::FolderOrder& order) {
  const grow::Recipe& recipe = order.weights.recipe;
  if (recipe.needs_router_mean()) {
    order.weights.router_mean = grow::feed_forward_means(
        *order.weights.parents.front(), probe.probe.router_tokens);
  }
  if (options.no_verify) return;
  order.judge = [&](const fs::path& child) {
    return judge_child({.parents = order.weights.parents,
                        .recipe = recipe,
                        .probe = probe,
                        .whole_probe = options.shape.whole,
                        .loss_budget = options.loss_budget,
                        .allow = options.allow},
                       child);
  };
}

}  // namespace

void grow_model(GrowOptions options) {
  if (!options.chain.empty()) {
    options.plan.chain =
        grow::read_chain(read_file(options.chain), options.chain).chain;
  }
  const ParentFiles parents(options.parent, further_parents(options.plan));
  const ModelFile& parent = parents.first();
  const grow::Recipe recipe =
      grow::make_operator(options.plan)->recipe(parent.config(), options.seed);
  grow::FolderOrder order{
      .weights = {.recipe = recipe,
                  .parents = parents.all(),
                  .dtype = grow::dtype_from_flag(options.dtype),
                  .max_shard_bytes = parse_bytes(options.max_shard_size)},
      .state = {options.plan.optimizer, options.plan.dynamics}};
  const grow::FolderPlan plan = plan_folder(order);
  if (const std::string notice = class_notice(parent.config(), options.plan);
      !notice.empty()) {
    fmt::print(stderr, "note: {}\n", notice);
  }
  if (options.dry_run) return dry_run(options, recipe, plan);
  if (recipe.needs_router_mean() && options.text.empty()) {
    user_error(
        "growing {}: a mean-orthogonal router needs the activations of some "
        "text; give --text FILE, or --router random",
        options.parent);
  }
  // What can be refused is refused before anything is computed.
  check_out(options, parents.all());
  InterruptibleFolder out(options.out, options.force);
  // Text that nothing is computed on need not be read.
  const bool uses_text = !options.no_verify || recipe.needs_router_mean();
  const NamedProbe probe = make_probe(
      options.shape, uses_text ? options.text : std::vector<std::string>(),
      options.tokenizer, parent);
  complete(options, probe, order);
  write_child(options, order, plan, *out);
}

void replay_growth(const GrowOptions& options) {
  const auto start = Clock::now();
  const Lineage lineage = read_lineage(options.replay);
  if (lineage.empty() || !grow::is_operator(lineage.back().op)) {
    user_error("replaying {}: its last record is not a growth", options.replay);
  }
  const LineageRecord& last = lineage.back();
  const ParentFiles parents(options.parent, parents_again(options, last));
  check_out(options, parents.all());
  const grow::Recipe recipe =
      grow::recipe_of(last.op, last.arguments, parents.first().config(),
                      last.seed, options.replay);
  grow::FolderOrder order{
      .weights = {.recipe = recipe, .parents = parents.all()}};
  grow::apply_replay(last, options.replay, order);
  const grow::FolderPlan plan = plan_folder(order);
  InterruptibleFolder out(options.out, options.force);
  print_plan(recipe, plan, options.out);
  grow::replay_folder(order, plan, lineage, *out);
  print_done(options.out, plan.bytes, start);
}

}  // namespace annuli::cli
