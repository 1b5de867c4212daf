#include "annuli/cli/grow_verb.h"

#include <ATen/core/Tensor.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "annuli/checkpoint/output_folder.h"
#include "annuli/cli/card_training.h"
#include "annuli/cli/command_inputs.h"
#include "annuli/cli/grow_judge.h"
#include "annuli/cli/grow_report.h"
#include "annuli/cli/interrupt.h"
#include "annuli/cli/parent_files.h"
#include "annuli/cli/run_group.h"
#include "annuli/config/class_notice.h"
#include "annuli/config/constant_gates.h"
#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/core/text.h"
#include "annuli/data/text_paths.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/export_folder.h"
#include "annuli/grow/grow_folder.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/replay.h"
#include "annuli/grow/router_centroids.h"
#include "annuli/grow/router_mean.h"
#include "annuli/model/shared_work.h"
#include "annuli/parallel/launcher.h"
#include "annuli/verify/router_health.h"

namespace annuli::cli {
namespace {

// Seconds. One that is gone is noticed at once; the first one may prove a large
// child for long while the others wait.
constexpr double kStart = 600;
constexpr double kTimeout = 4 * 3600;
constexpr const char* kAdvice = "nothing was written: grow again";

using Clock = std::chrono::steady_clock;

bool is_pt(const std::string& out) { return out.ends_with(".pt"); }

void require_out(const GrowOptions& options) {
  if (!options.out.empty()) return;
  user_error("growing {}: no --out; give the folder to write", options.parent);
}

InputPaths inputs_of(const GrowOptions& options, const ParentFiles& parents) {
  InputPaths inputs;
  inputs.add("the parent", options.parent);
  for (const ModelFile* parent : parents.all()) {
    add_model(inputs, parent == &parents.first() ? "the parent" : "--with",
              *parent);
  }
  inputs.add("the chain", options.chain);
  inputs.add("--replay", options.replay);
  add_tokenizer(inputs, options.tokenizer);
  for (const std::string& text : options.text) inputs.add("--text", text);
  return inputs;
}

void check_report(const GrowOptions& options, const InputPaths& inputs) {
  check_output_file("writing the report to", options.json, inputs, [&] {
    return has_json_keys(options.json, {"out", "operator", "arguments"});
  });
}

// A report in the child's folder is ours as the child is.
void write_report(const GrowOptions& options, const Json& report) {
  const fs::path path = options.json;
  write_json(path, report);
  std::error_code error;
  if (!fs::equivalent(path.parent_path(), options.out, error)) return;
  OutputFolder::add_file(options.out, path.filename());
}

// A .pt is made of the finished folder, tensor by tensor from its pages.
void finish_as_pt(const GrowOptions& options, const ModelFile& parent,
                  const grow::FolderPlan& plan, OutputFolder& out,
                  grow::FolderOrder& order) {
  if (!plan.state.empty()) {
    user_error(
        "growing {}: a .pt file has no place for the optimizer's state; give "
        "a folder as --out, or --optimizer reset",
        options.parent);
  }
  out.require_space(2 * plan.bytes);
  order.finish = [&](OutputFolder& folder) {
    grow::export_pt({.model = ModelFile(folder.folder()),
                     .dtype = std::nullopt,
                     .tokenizer_of = &parent},
                    options.out);
  };
}

// Where the child is written, once all that can be refused was; null on all
// processes but the first.
std::unique_ptr<InterruptibleFolder> open_out(const GrowOptions& options,
                                              const ParentFiles& parents,
                                              const InputPaths& inputs,
                                              const grow::FolderPlan& plan,
                                              grow::FolderOrder& order) {
  if (!order.weights.group.is_first()) return nullptr;
  check_report(options, inputs);
  if (!is_pt(options.out)) {
    return std::make_unique<InterruptibleFolder>(options.out, options.force,
                                                 inputs);
  }
  check_pt_output(options.out, inputs, options.force);
  auto out = std::make_unique<InterruptibleFolder>(options.out);
  finish_as_pt(options, parents.first(), plan, **out, order);
  return out;
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

void report_child(const GrowOptions& options, const grow::Recipe& recipe,
                  const grow::FolderPlan& plan, const LineageRecord& record) {
  if (options.json.empty()) return;
  Json json = plan_json(recipe, plan, options.out);
  json["parent"] = record.parent;
  json["child"] = record.child;
  json["verdicts"] = record.verdicts;
  write_report(options, json);
}

void write_child(const GrowOptions& options, const grow::FolderOrder& order,
                 const grow::FolderPlan& plan, InterruptibleFolder* folder) {
  if (folder == nullptr) return grow::help_to_grow(order, plan);
  OutputFolder& out = **folder;
  const auto start = Clock::now();
  print_plan(order.weights.recipe, plan, options.out);
  const LineageRecord record = grow::grow_folder(order, plan, out);
  print_done(options.out, plan.bytes, start);
  report_child(options, order.weights.recipe, plan, record);
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

// A router that cannot learn is not what anybody wants, unless they say so.
void check_gates(const GrowOptions& options, const grow::Recipe& recipe,
                 const parallel::ProcessGroup& group) {
  if (has_constant_gates(recipe.parent) || !has_constant_gates(recipe.child)) {
    return;
  }
  const bool allowed = std::ranges::count(options.allow, "router_health") > 0;
  if (allowed || options.no_verify) {
    if (!group.is_first()) return;
    warn("growing {}: 1 expert a token: {}", options.parent, kConstantGates);
    return;
  }
  user_error(
      "growing {}: found 1 expert a token: {}; expected {}, or --allow "
      "router_health to make it all the same",
      options.parent, kConstantGates, kInsteadOfConstantGates);
}

// A proof finds NaN while it reads the parent; without one nothing would.
void require_numbers(const GrowOptions& options, const ParentFiles& parents,
                     const parallel::ProcessGroup& group) {
  if (!options.no_verify || !group.is_first()) return;
  for (const ModelFile* parent : parents.all()) {
    require_finite(*parent, "growing");
  }
}

// Text that nothing is computed on need not be read.
bool uses_probe(const GrowOptions& options, const grow::Recipe& recipe) {
  return !options.no_verify || recipe.needs_router_mean();
}

NamedProbe probe_for(const GrowOptions& options, const grow::Recipe& recipe,
                     const ModelFile& parent) {
  if (!uses_probe(options, recipe)) return {};
  ProbeShape shape = options.shape;
  shape.router_tokens =
      std::max(shape.router_tokens, verify::router_tokens_needed(recipe.child));
  return make_probe(shape, options.text, options.tokenizer, parent);
}

// Of the first process: who draws a router draws it against these very bits.
std::vector<at::Tensor> directions_of_first(parallel::ProcessGroup& group,
                                            const ModelFile& parent,
                                            const grow::Recipe& recipe,
                                            const at::Tensor& tokens) {
  const grow::CentroidOrder centroids{recipe.router_centroids(), recipe.seed};
  std::vector<at::Tensor> measured;
  if (group.is_first()) {
    measured = centroids.count > 0
                   ? grow::router_centroids(parent, tokens, centroids)
                   : grow::router_directions(parent, tokens);
  }
  return group.size() == 1 ? measured : tensors_of_holder(group, measured);
}

// Adds the proof, and the means of routers, to an order.
void complete(const GrowOptions& options, const NamedProbe& probe,
              grow::FolderOrder& order) {
  const grow::Recipe& recipe = order.weights.recipe;
  if (recipe.needs_router_mean()) {
    order.weights.router_mean =
        directions_of_first(order.weights.group, *order.weights.parents.front(),
                            recipe, probe.probe.router_tokens);
  }
  if (options.no_verify) return;
  order.judge = [&](const fs::path& child) {
    return judge_child({.parents = order.weights.parents,
                        .recipe = recipe,
                        .probe = probe,
                        .whole_probe = options.shape.whole,
                        .loss_budget = options.loss_budget,
                        .allow = options.allow,
                        .group = order.weights.group},
                       child);
  };
}

// For the child's card.
grow::CardTraining training_of(const ParentFiles& parents) {
  grow::CardTraining training = card_training(parents.first());
  if (training.markdown.empty()) return training;
  training.markdown = "Of its parent, before the growth. " + training.markdown;
  training.metrics.clear();  // the child's own are not known
  return training;
}

// True if it has started processes that do the work; all have done it.
bool is_done_by_processes(const GrowOptions& options) {
  if (!options.processes) return false;
  const int64_t count = parallel::process_count(*options.processes);
  if (count == 1 || options.dry_run) return false;
  parallel::launch(count, parallel::own_arguments_without("--processes"),
                   kTimeout);
  return true;
}

void grow_with(const GrowOptions& options, parallel::ProcessGroup& group) {
  const ParentFiles parents(options.parent, further_parents(options.plan));
  const ModelFile& parent = parents.first();
  const grow::Recipe recipe =
      grow::make_operator(options.plan)->recipe(parent.config(), options.seed);
  check_gates(options, recipe, group);
  grow::FolderOrder order{
      .weights = {.recipe = recipe,
                  .parents = parents.all(),
                  .dtype = grow::dtype_from_flag(options.dtype),
                  .max_shard_bytes = parse_bytes(options.max_shard_size),
                  .group = group},
      .state = {options.plan.optimizer, options.plan.dynamics},
      .training = training_of(parents)};
  const grow::FolderPlan plan = plan_folder(order);
  if (const std::string text = class_notice(parent.config(), options.plan);
      !text.empty()) {
    print_notice(text);
  }
  InputPaths inputs = inputs_of(options, parents);
  if (options.dry_run) {
    if (!group.is_first()) return;
    check_report(options, inputs);
    return dry_run(options, recipe, plan);
  }
  // What can be refused is refused before anything is computed.
  require_out(options);
  if (uses_probe(options, recipe)) {
    data::add_text(inputs, "--text", options.text);
  }
  const auto out = open_out(options, parents, inputs, plan, order);
  require_numbers(options, parents, group);
  const NamedProbe probe = probe_for(options, recipe, parent);
  complete(options, probe, order);
  write_child(options, order, plan, out.get());
  group.barrier();
}

void replay_with(const GrowOptions& options, parallel::ProcessGroup& group) {
  const auto start = Clock::now();
  const Lineage lineage = read_lineage(options.replay);
  if (lineage.empty() || !grow::is_operator(lineage.back().op)) {
    user_error("replaying {}: its last record is not a growth", options.replay);
  }
  const LineageRecord& last = lineage.back();
  const ParentFiles parents(options.parent, parents_again(options, last));
  require_out(options);
  const grow::Recipe recipe =
      grow::recipe_of(last.op, last.arguments, parents.first().config(),
                      last.seed, options.replay);
  grow::FolderOrder order{
      .weights = {.recipe = recipe, .parents = parents.all(), .group = group},
      .training = training_of(parents)};
  grow::apply_replay(last, options.replay, order);
  const grow::FolderPlan plan = plan_folder(order);
  const auto out =
      open_out(options, parents, inputs_of(options, parents), plan, order);
  if (out == nullptr) {
    grow::help_to_grow(order, plan);
  } else {
    print_plan(recipe, plan, options.out);
    grow::replay_folder(order, plan, lineage, **out);
    print_done(options.out, plan.bytes, start);
    report_child(options, recipe, plan, last);
  }
  group.barrier();
}

}  // namespace

void grow_model(GrowOptions options) {
  if (!options.chain.empty()) {
    options.plan.chain =
        grow::read_chain(read_file(options.chain), options.chain,
                         RouterInit::kMeanOrthogonal)
            .chain;
  }
  if (is_done_by_processes(options)) return;
  with_group(kStart, kTimeout, kAdvice,
             [&](parallel::ProcessGroup& group) { grow_with(options, group); });
}

void replay_growth(const GrowOptions& options) {
  if (is_done_by_processes(options)) return;
  with_group(kStart, kTimeout, kAdvice, [&](parallel::ProcessGroup& group) {
    replay_with(options, group);
  });
}

}  // namespace annuli::cli
