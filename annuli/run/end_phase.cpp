#include "annuli/run/end_phase.h"

#include <fmt/ranges.h>

#include <chrono>
#include <cmath>
#include <exception>
#include <system_error>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/memory.h"
#include "annuli/core/notice.h"
#include "annuli/core/say.h"
#include "annuli/core/text.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/model/weight_parts.h"
#include "annuli/run/console.h"
#include "annuli/run/freezing.h"
#include "annuli/run/records.h"
#include "annuli/run/samples.h"
#include "annuli/train/evaluate.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::run {
namespace {

// Of the growth that began the phase, if one did.
std::vector<verify::Verdict> growth_verdicts(RunningPlan& run,
                                             const RunState& state) {
  if (!state.recipe) return {};
  const Plan& plan = run.plan();
  const ModelFile parent(
      state.phase == 0
          ? fs::path(plan.model.from)
          : run.folder().checkpoint(plan.phases[state.phase - 1].checkpoint));
  const verify::PhaseEvidence evidence{
      .recipe = *state.recipe,
      .probe = run.probe(),
      .control = state.control ? &*state.control : nullptr,
      .parent_tensor =
          [&](const std::string& name) { return parent.copy(name); },
      .steps = state.step,
      .group = run.group(),
  };
  return verify::verify_phase(evidence, state.model);
}

void prove(RunningPlan& run, const RunState& state) {
  const PhasePlan& phase = run.phase(state);
  auto verdicts = growth_verdicts(run, state);
  const auto frozen =
      is_frozen(phase, state) ? frozen_verdict(phase, state) : std::nullopt;
  if (frozen) verdicts.push_back(*frozen);
  if (verdicts.empty() && !state.recipe) return;
  verify::allow(verdicts, run.allowed(phase));
  print_verdicts(verdicts);
  if (run.is_writer()) {
    write_verdicts(run.folder().verdicts(phase.name), "after_phase", verdicts);
  }
  verify::require(verdicts);
}

double seconds_of_proof(RunningPlan& run, const RunState& state) {
  const auto start = std::chrono::steady_clock::now();
  prove(run, state);
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  return seconds.count();
}

void write_results(RunningPlan& run, RunState& state) {
  const Plan& plan = run.plan();
  const PhasePlan& phase = run.phase(state);
  append(state.lineage,
         lineage_record("train", train_arguments(phase.train), plan.seed,
                        state.lineage.back().child, content_hash(state.model)));
  run.require_one_model(state);
  run.save_checkpoint(state, phase.checkpoint);
  if (!run.is_writer()) return;
  write_lineage(run.folder().lineage(), state.lineage);
  // Of an earlier attempt at this phase: what is there counts as made.
  std::error_code ignored;
  fs::remove(run.folder().samples(phase.name), ignored);
}

void write_missing_samples(RunningPlan& run, const RunState& state) {
  const PhasePlan& phase = run.phase(state);
  const fs::path path = run.folder().samples(phase.name);
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return;
  Transformer alone = state.model;
  alone.set_parts(nullptr);  // all weights are here, and this is one process
  try {
    write_samples(path, run.plan(), alone, run.data().tokenizer(),
                  run.data().borders());
    run.show_samples(phase.name);
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    warn("no samples of phase {}: {}", phase.name,
         reason.substr(0, reason.find('\n')));
  }
}

}  // namespace

void evaluate(RunningPlan& run, const RunState& state) {
  if (run.plan().evaluation.windows == 0) return;
  double loss = 0;
  std::vector<double> of_texts;
  for (const HeldOutText& text : run.data().validation()) {
    of_texts.push_back(train::evaluate(state.model, text.windows, run.group()));
    loss += text.weight * of_texts.back();
  }
  const double bits_per_byte =
      loss / std::log(2.0) / run.data().bytes_per_token();
  Json line = {{"type", "evaluation"},
               {"phase", run.phase(state).name},
               {"step", state.step},
               {"eval_loss", loss},
               {"bits_per_byte", bits_per_byte}};
  std::string by_text;
  if (of_texts.size() > 1) {
    line["eval_loss_by_text"] = of_texts;
    by_text = fmt::format("; by text {:.4f}", fmt::join(of_texts, ", "));
  }
  say("  held-out loss {:.4f}, {:.3f} bits per byte{}\n", loss, bits_per_byte,
      by_text);
  run.history().append(std::move(line));
}

void end_phase(RunningPlan& run, RunState& state) {
  run.group().work_at("ending phase " + run.phase(state).name);
  run.note_place(state);
  run.stop_if_asked(state);
  evaluate(run, state);
  run.stop_if_asked(state);
  const double proof_seconds = seconds_of_proof(run, state);
  run.stop_if_asked(state);
  write_results(run, state);

  const PhasePlan& phase = run.phase(state);
  run.history().append(phase_json(phase.name, state.model.config(),
                                  peak_resident_bytes(), proof_seconds));
  say("  checkpoint {}  peak memory {}\n", phase.checkpoint,
      format_bytes(static_cast<double>(peak_resident_bytes())));
  state.phase_ended = true;
  state.after_rollback = false;
  state.rollbacks = 0;
  state.lr_factor = 1;
  // After the last phase nothing is left to go on to.
  if (!run.is_last(state)) {
    run.note_place(state);
    run.save(state);
    run.stop_if_asked(
        fmt::format("after phase {}; its state is saved", phase.name));
  }
  make_samples(run, state);
}

void make_samples(RunningPlan& run, const RunState& state) {
  if (run.plan().samples.prompts.empty()) return;
  const WeightParts* parts = state.model.parts();
  if (parts != nullptr) {
    kernels::give_back_memory();  // the steps' pages
    parts->gather(state.model);
  }
  if (run.is_writer()) write_missing_samples(run, state);
  if (parts != nullptr) parts->scatter(state.model);
}

}  // namespace annuli::run
