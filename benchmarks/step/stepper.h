#pragma once

#include <memory>
#include <string>

#include "annuli/config/plan.h"
#include "annuli/core/file.h"
#include "annuli/parallel/process_group.h"
#include "annuli/train/trainer.h"

// Our contestant: a plan's first phase, step by step, by the trainer of
// `annuli run` and with nothing else around it.
namespace annuli::bench {

// The folder that all contestants start from: `model/` (config.json and
// model.safetensors, fp32), `batches.i64`, the batches of the first `steps`
// steps as the trainer will draw them, int64 [steps, 2, B, T], tokens and
// targets, and `plan.json`, what a peer needs to know of the plan.
void make_start(const Plan& plan, const fs::path& folder, int64_t steps);

class Stepper {
 public:
  // Loads `folder`/model; the plan says all else. The group is borrowed.
  Stepper(const Plan& plan, const fs::path& folder,
          parallel::ProcessGroup& group);
  ~Stepper();

  train::StepRecord step();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace annuli::bench
