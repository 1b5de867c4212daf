// The C++ contestants of the training benchmark (benchmarks/bench.py):
//
//   annuli_step_bench make PLAN FOLDER --steps N     weights and batches
//   annuli_step_bench ours PLAN FOLDER               our training step
//   annuli_step_bench light PLAN --dtype fp32|bf16   its speed of light
//   annuli_step_bench phases RUN [--json FILE]       a finished run's light
//
// the first three with --set key=value for the plan. `ours` and `light` first
// print
// {"ready": true}, then answer each line "step" on standard input with one line
// of JSON: seconds, loss, grad_norm and the experts' rows, or seconds and
// flops. For a mixture `light` is asked with the rows that the step had:
// "step [[512, ...], ...]".
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/memory.h"
#include "annuli/kernels/threads.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/rendezvous.h"
#include "annuli/parallel/solo.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/train/schedule.h"
#include "benchmarks/bench_program.h"
#include "benchmarks/step/phases.h"
#include "benchmarks/step/speed_of_light.h"
#include "benchmarks/step/stepper.h"

namespace annuli::bench {
namespace {

struct Options {
  std::string plan;
  std::string folder;
  std::string dtype = "fp32";
  std::string json;
  int64_t steps = 0;
  std::vector<std::string> set;
};

void say(const Json& line) {
  std::cout << line.dump() << '\n';
  std::cout.flush();
}

// Says that it is ready, with `facts`, and answers "step ARGUMENT" until
// standard input ends.
void serve(Json facts, const std::function<Json(const Json& argument)>& step) {
  facts["ready"] = true;
  say(facts);
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.starts_with("step")) {
      user_error("stepping: found '{}', expected 'step'", line);
    }
    const std::string argument = line.substr(4);
    say(step(argument.empty() ? Json() : Json::parse(argument)));
  }
}

// Steps with the first process until that one ends; not a moment before it, or
// its time would lack what this one has done already.
void follow(Stepper& stepper, parallel::ProcessGroup& group) {
  try {
    for (;;) {
      group.barrier();
      stepper.step();
    }
  } catch (const parallel::LostProcess&) {  // NOLINT(bugprone-empty-catch)
  }
}

// Alone, or as one of the processes that the environment tells of.
void serve_ours(const Options& options) {
  const Plan plan = load_plan(options.plan, options.set);
  if (plan.threads > 0) {
    kernels::set_num_threads(static_cast<int>(plan.threads));
  }
  const parallel::LaunchEnvironment environment =
      parallel::launch_environment();
  std::unique_ptr<parallel::ProcessGroup> joined;
  if (environment.size > 1) {
    joined = parallel::join(environment, plan.parallel.timeout,
                            plan.parallel.timeout);
  }
  parallel::ProcessGroup& group = joined ? *joined : parallel::solo();
  Stepper stepper(plan, options.folder, group);
  if (!group.is_first()) return follow(stepper, group);
  serve(Json::object(), [&](const Json&) -> Json {
    group.barrier();
    const auto start = std::chrono::steady_clock::now();
    const train::StepRecord record = stepper.step();
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    return {{"seconds", seconds.count()},
            {"loss", record.loss},
            {"grad_norm", record.grad_norm},
            {"rows", record.load},
            {"peak_memory_bytes", peak_resident_bytes()}};
  });
}

at::ScalarType dtype_of(const std::string& word) {
  if (word == "fp32") return at::kFloat;
  if (word == "bf16") return at::kBFloat16;
  user_error("--dtype: found '{}', expected fp32 or bf16", word);
}

void serve_light(const Options& options) {
  const Plan plan = load_plan(options.plan, options.set);
  const int64_t vocab = load_tokenizer(plan.tokenizer)->vocab_size();
  const TrainPlan& train = plan.phases.front().train;
  const int64_t tokens = train.batch_size * train::window_length(plan, train);
  const auto light = fastest_light(model_config(plan.model, vocab), tokens,
                                   dtype_of(options.dtype));
  const char* type = light->dtype() == at::kFloat ? "fp32" : "bf16";
  serve({{"products", type}}, [&](const Json& rows) -> Json {
    const Light result = light->replay(rows.is_null() ? light->even_rows()
                                                      : rows.get<ExpertRows>());
    return {{"seconds", result.seconds},
            {"flops", result.flops},
            {"peak_memory_bytes", peak_resident_bytes()}};
  });
}

void add_phases(CLI::App& app, Options& options) {
  CLI::App* phases = app.add_subcommand("phases", "A run's steps and light");
  phases->add_option("run", options.folder)->required();
  phases->add_option("--json", options.json);
  phases->callback([&] {
    const Json judged = judge_phases(options.folder);
    if (!options.json.empty()) write_json(options.json, judged);
  });
}

void parse(int argc, char** argv) {
  CLI::App app{"Contestants of the training benchmark"};
  app.require_subcommand(1);
  Options options;
  const auto add = [&](const char* name, const char* help,
                       std::function<void()> run) {
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option("plan", options.plan)->required();
    command->add_option("--set", options.set)->allow_extra_args(false);
    command->callback(std::move(run));
    return command;
  };
  CLI::App* make = add("make", "Write weights and batches", [&] {
    make_start(load_plan(options.plan, options.set), options.folder,
               options.steps);
  });
  make->add_option("folder", options.folder)->required();
  make->add_option("--steps", options.steps)->required();
  add("ours", "Our training step", [&] { serve_ours(options); })
      ->add_option("folder", options.folder)
      ->required();
  add("light", "Its matrix products alone", [&] {
    serve_light(options);
  })->add_option("--dtype", options.dtype);
  add_phases(app, options);
  app.parse(argc, argv);
}

}  // namespace
}  // namespace annuli::bench

int main(int argc, char** argv) {
  return annuli::bench::bench_program(
      "annuli_step_bench", [&] { annuli::bench::parse(argc, argv); });
}
