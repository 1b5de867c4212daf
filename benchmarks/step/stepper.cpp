#include "benchmarks/step/stepper.h"

#include <fstream>
#include <utility>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/model/tensor_table.h"
#include "annuli/run/first_state.h"
#include "annuli/run/run_data.h"
#include "annuli/run/run_state.h"
#include "annuli/train/optimizer.h"
#include "annuli/train/schedule.h"

namespace annuli::bench {
namespace {

run::FirstState start_of(Plan plan, const std::string& from, int64_t vocab) {
  plan.model.from = from;
  return run::first_state(plan, vocab, at::kCPU);
}

// What one of the processes holds of it.
run::FirstState held(run::FirstState first, const Plan& plan,
                     parallel::ProcessGroup& group) {
  run::keep_own_part(first.model, first.optimizer, plan, group);
  return first;
}

// What a peer needs to know of the plan.
Json facts_of(const Plan& plan, const ModelConfig& config) {
  const TrainPlan& train = plan.phases.front().train;
  const ParameterCount count = count_parameters(config);
  return {{"batch_size", train.batch_size},
          {"sequence_length", train::window_length(plan, train)},
          {"learning_rate", train.learning_rate},
          {"optimizer", word_of(plan.optimizer.type)},
          {"muon_momentum", plan.optimizer.muon_momentum},
          {"muon_scale", word_of(plan.optimizer.muon_scale)},
          {"beta1", plan.optimizer.adam_beta1},
          {"beta2", plan.optimizer.adam_beta2},
          {"epsilon", plan.optimizer.adam_epsilon},
          {"weight_decay", plan.optimizer.weight_decay},
          {"parameters", count.total},
          {"active_parameters", count.active}};
}

}  // namespace

void make_start(const Plan& plan, const fs::path& folder, int64_t steps) {
  run::RunData data(plan);
  fs::create_directories(folder);
  const run::FirstState first =
      start_of(plan, "", data.tokenizer().vocab_size());
  save_folder(first.model, folder / "model");
  write_json(folder / "plan.json", facts_of(plan, first.model.config()));
  std::ofstream file(folder / "batches.i64", std::ios::binary);
  for (int64_t i = 0; i < steps; ++i) {
    const data::Batch batch =
        data.train().next(plan.phases.front().train.batch_size);
    for (const auto* ids : {&batch.tokens, &batch.targets}) {
      file.write(reinterpret_cast<const char*>(ids->data()),
                 static_cast<std::streamsize>(ids->size() * sizeof(int64_t)));
    }
  }
  if (!file.flush()) {
    user_error("writing {}: not all was written; is the disk full?",
               (folder / "batches.i64").string());
  }
}

struct Stepper::State {
  State(Plan given, const fs::path& folder, parallel::ProcessGroup& group)
      : plan(std::move(given)),
        data(plan),
        first(held(start_of(plan, (folder / "model").string(),
                            data.tokenizer().vocab_size()),
                   plan, group)),
        optimizer(plan.optimizer, std::move(first.optimizer)),
        trainer(first.model, optimizer, data.train(), plan.phases.front().train,
                plan.optimizer.weight_decay, static_cast<uint64_t>(plan.seed),
                group, std::nullopt, plan.parallel.shard) {
    kernels::give_back_memory();
  }

  Plan plan;
  run::RunData data;
  run::FirstState first;
  train::Optimizer optimizer;
  train::Trainer trainer;
  int64_t done = 0;
};

Stepper::Stepper(const Plan& plan, const fs::path& folder,
                 parallel::ProcessGroup& group)
    : state_(std::make_unique<State>(plan, folder, group)) {}

Stepper::~Stepper() = default;

train::StepRecord Stepper::step() {
  return state_->trainer.step(++state_->done);
}

}  // namespace annuli::bench
