#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/commands.h"
#include "annuli/cli/field_flags.h"
#include "annuli/cli/grow_verb.h"
#include "annuli/cli/options.h"
#include "annuli/core/error.h"
#include "annuli/core/text.h"
#include "annuli/grow/registry.h"

namespace annuli::cli {
namespace {

constexpr const char* kChain = "chain";

void add_output_options(CLI::App& command, GrowOptions& options) {
  command.add_option("--out", options.out,
                     "What to write: a new folder, or a file NAME.pt");
  command.add_flag("--force", options.force,
                   "Replace what an earlier command wrote at --out");
  command.add_option("--json", options.json,
                     "Write what was done, with the verdicts, to this file");
  command.add_option(
      "--processes", options.processes,
      "Number of processes of this host that share the work, a power of two: "
      "each makes its part of the tensors, the files are the same (default: "
      "1)");
}

void add_storage_options(CLI::App& command, GrowOptions& options) {
  command
      .add_option("--dtype", options.dtype,
                  "Number type to store weights in (default: the parent's)")
      ->check(CLI::IsMember({"f32", "f64", "bf16", "f16"}));
  command
      .add_option("--max-shard-size", options.max_shard_size,
                  "Largest size of one safetensors file")
      ->capture_default_str();
  command
      .add_option("--seed", options.seed,
                  "Seed of all random numbers: the same seed, the same child")
      ->capture_default_str();
  command.add_flag("--dry-run", options.dry_run,
                   "Print what would be written and how it would be made, but "
                   "write nothing");
  command.add_option("--tensor", options.tensor,
                     "With --dry-run: print how this tensor would be made");
}

void add_proof_options(CLI::App& command, GrowOptions& options) {
  command.add_flag("--no-verify", options.no_verify,
                   "Put the child at --out without proving it");
  add_allow(command, options.allow);
  add_loss_budget(command, options.loss_budget);
  command
      .add_option("--text", options.text,
                  "Text on which the child is proved and routers are measured: "
                  "files, folders or globs (default: the program's own text)")
      ->allow_extra_args(false);
  add_tokenizer(command, options.tokenizer);
  add_probe_shape(command, options.shape);
}

// Puts the operator of that name into the plan, with the command line's
// defaults, and adds the flags of its fields and of those that every operator
// has.
struct FlagsOf {
  CLI::App& command;
  std::string name;

  template <typename T>
  void operator()(const Field& field, T& member) const {
    if constexpr (kIsOptionalSection<T>) {
      if (field.name != name) return;
      auto& plan = member.emplace();
      // There is always a text that the means can be measured on.
      if constexpr (requires { plan.router; }) {
        plan.router = RouterInit::kMeanOrthogonal;
      }
      add_field_flags(command, plan);
    } else {
      FieldFlags{command}(field, member);
    }
  }
};

void add_operator(CLI::App& grow, const Field& field) {
  auto options = std::make_shared<GrowOptions>();
  const std::string verb = flag_name(field.name);
  const grow::RegistryEntry& entry = grow::find_operator(field.name);
  CLI::App* command = grow.add_subcommand(verb, entry.sentence);
  command->group("Operators");
  if (verb == kChain) {
    command
        ->add_option("plan", options->chain,
                     "A YAML file with a list of operators")
        ->required();
  }
  command
      ->add_option("parent", options->parent,
                   "A model folder, or a .pt or GGUF file")
      ->required();
  visit_fields(FlagsOf{*command, field.name}, options->plan);
  add_output_options(*command, *options);
  add_storage_options(*command, *options);
  add_proof_options(*command, *options);
  command->footer(fmt::format("Example:\n  {}", entry.example));
  command->callback([options] { grow_model(*options); });
}

// One verb for each operator that a plan knows, and one for their chain.
struct OperatorVerbs {
  CLI::App& grow;

  template <typename T>
  void operator()(const Field& field, const T&) const {
    if constexpr (kIsOptionalSection<T> || kIsList<T>) {
      add_operator(grow, field);
    }
  }
};

// Words that follow `grow` and are no operator: the parent of a replay.
void check_replay(const CLI::App& grow, const std::vector<std::string>& words,
                  const GrowOptions& options) {
  if (!options.replay.empty() && words.size() == 1) return;
  if (!options.replay.empty()) {
    user_error("annuli grow --replay: found {} parents, expected one",
               words.size());
  }
  if (words.empty()) {
    user_error(
        "annuli grow: no operator; see annuli grow --help, or give --replay "
        "lineage.json PARENT");
  }
  std::vector<std::string> operators;
  for (const CLI::App* command : grow.get_subcommands(nullptr)) {
    operators.push_back(command->get_name());
  }
  const std::string hint = did_you_mean(words.front(), operators);
  user_error("annuli grow: unknown operator '{}'{}{} annuli grow --help",
             words.front(), hint, hint.empty() ? "; see" : " See");
}

void add_replay(CLI::App& grow) {
  auto options = std::make_shared<GrowOptions>();
  auto words = std::make_shared<std::vector<std::string>>();
  grow.add_option("parent", *words, "With --replay: the parent that was grown");
  grow.add_option("--replay", options->replay,
                  "Carry out the last growth of this lineage.json once more, "
                  "to the same bytes");
  grow.add_option("--with", options->with,
                  "With --replay: the other parents of a merge (default: where "
                  "they were then)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  add_output_options(grow, *options);
  grow.callback([options, words, &grow] {
    if (!grow.get_subcommands().empty()) return;
    check_replay(grow, *words, *options);
    options->parent = words->front();
    replay_growth(*options);
  });
}

}  // namespace

void add_grow_command(CLI::App& app) {
  CLI::App* grow =
      app.add_subcommand("grow",
                         "Grow a model from disk to disk, and prove the child "
                         "before it gets its name");
  const GrowPlan plan;
  visit_fields(OperatorVerbs{*grow}, plan);
  add_replay(*grow);
  grow->footer(
      "Examples:\n  annuli grow widen PARENT --out CHILD --factor 2\n"
      "  annuli grow --replay CHILD/lineage.json PARENT --out AGAIN\n\n"
      "annuli grow OPERATOR --help shows an operator's options.");
}

}  // namespace annuli::cli
