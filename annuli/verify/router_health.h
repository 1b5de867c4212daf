#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/shared_work.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// Experts must all work, and routers must be able to learn whom to choose.
// Output equality cannot see a router that sends every token to the same
// experts, or one that no loss ever moves: the model is right and cannot
// improve.
//
// Only text tells how a router shares out tokens. On random ids what fails here
// is a warning.
//
// Copies that growth has closed (grow/expand_experts.h) have no slots until
// training opens them. As long as they have none they are not counted among the
// experts that must have some, nor in the mean; the verdict says how many they
// are. They may still be what they are copies of: that is a warning then.
namespace annuli::verify {

// By expert of the child, whether the growth has closed it; empty: none.
std::vector<bool> closed_by(const grow::Recipe& recipe);

// How many tokens tell a dead expert from one that is rarely chosen. Let every
// expert get at least a tenth of the mean load, k / E of the tokens. Then one
// expert has no slot on N tokens with probability at most exp(-N k / (10 E)),
// any of the E L with at most E L times that. This N makes it one in a
// thousand: a sound router is as good as never refused, one with an expert that
// no token chooses always. 0 for a dense model.
int64_t router_tokens_needed(const ModelConfig& config);

// Right after growth: no layer's gate is always 1 (constant_gates.h).
Verdict router_gates(const ModelConfig& config);

// Right after growth: on the router probe no expert without a slot, and the
// fullest at most 3 x the mean, in any layer. What fails on too few tokens for
// a mean expert to be seen is a warning too.
std::vector<Verdict> router_load(const Transformer& model, const Probe& probe,
                                 const std::vector<bool>& closed = {});
// The same where processes share passes: one of them makes this one.
class RouterLoad {
 public:
  // Model and probe are borrowed.
  RouterLoad(const Transformer& model, const Probe& probe,
             std::vector<bool> closed = {})
      : model_(model), probe_(probe), closed_(std::move(closed)) {}

  void add_to(std::vector<Pass>& passes);
  // Once it was made, on all processes.
  std::vector<Verdict> verdicts(parallel::ProcessGroup& group) const;

 private:
  const Transformer& model_;
  const Probe& probe_;
  std::vector<bool> closed_;
  std::vector<double> slots_;  // by layer and expert, where the pass was made
};
// The same of a pass that was made already. experts: by layer, [N, k], what the
// tokens chose.
std::vector<Verdict> router_load(const Transformer& model,
                                 const std::vector<at::Tensor>& experts,
                                 bool is_text,
                                 const std::vector<bool>& closed = {});

// After a phase that began with an expansion: whether the copies of experts
// have parted. Copies that are always chosen together, with equal gates, get
// equal gradients for ever; that is a warning.
Verdict copied_experts(const Transformer& model,
                       parallel::ProcessGroup& group = parallel::solo());

// After the phase: all of that again; experts pairwise distinct; and a router
// that the language-model loss moves (router_gradient.h).
std::vector<Verdict> router_health(
    const Transformer& model, const Probe& probe,
    parallel::ProcessGroup& group = parallel::solo(),
    const std::vector<bool>& closed = {});

}  // namespace annuli::verify
