#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/json.h"
#include "annuli/run/growth_step.h"
#include "annuli/run/run_state.h"
#include "annuli/train/trainer.h"
#include "annuli/verify/verdict.h"

// What a run writes down: lines of the history, verdict files, lineage. The
// keys are documented in docs/formats.md.
namespace annuli::run {

// Lines of training_history.jsonl, told apart by "type".
Json step_json(const std::string& phase, const train::StepRecord& record,
               double seconds);
// copies_apart: of the grown model (train/weight_sample.h).
Json boundary_json(const std::string& phase, const grow::Recipe& recipe,
                   const Grown& grown, std::optional<double> copies_apart = {});
// The run went back from `from` to `to`, with a lower rate from there on.
Json rollback_json(const std::string& phase, int64_t from_step,
                   const std::string& reason, const std::string& to_phase,
                   const RunState& to);
Json phase_json(const std::string& phase, const ModelConfig& config,
                int64_t peak_bytes, double proof_seconds);

// Puts the verdicts under `stage` ("growth", "after_phase") into the file and
// keeps the other stage that may be there.
void write_verdicts(const std::filesystem::path& path, const std::string& stage,
                    const std::vector<verify::Verdict>& verdicts);

LineageRecord lineage_record(const std::string& op, Json arguments,
                             uint64_t seed, const std::string& parent,
                             const std::string& child);
LineageRecord growth_record(const grow::Recipe& recipe,
                            const std::string& parent, const std::string& child,
                            const std::vector<verify::Verdict>& verdicts);
Json train_arguments(const TrainPlan& train);

// The shortened lineage that goes into checkpoints; the run's lineage.json has
// the whole.
Lineage without_tensor_maps(Lineage lineage);

}  // namespace annuli::run
