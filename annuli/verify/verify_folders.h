#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/grow/recipe.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// Proves or refutes that a model on disk was grown from another (or from
// several): what `annuli verify` and `annuli grow` call.
//
// Both models may be larger than memory. Weights stay in their files, in their
// stored type; a tensor is widened when its turn comes and let go again. All
// windows of the probe pass through a layer of the parent and of the child
// before the next, so that each weight is read once, and nothing is kept of a
// layer but its verdict. What is held: the residual stream of the probe on both
// sides, one layer's activations, and the tensor at hand.
namespace annuli::verify {

struct FolderOptions {
  // kDouble: all arithmetic in fp64. kFloat: in fp32, and some tokens in fp64
  // as well unless the child must agree bit for bit.
  at::ScalarType arithmetic = at::kFloat;
  // Nats, if the recipe is not exact; unset: the recipe's.
  std::optional<double> loss_budget;
  // Compare all windows of the probe, not as many as decide (probe_share.h).
  bool whole_probe = false;
  // Who verifies together. They divide the tensors; the first one compares the
  // windows, the last one the few tokens that cost more. The verdicts of the
  // windows are with the first one alone.
  parallel::ProcessGroup& group = parallel::solo();
};

struct FolderVerdicts {
  // What the child was judged by; none if nothing explains its shapes, and then
  // the one verdict says why.
  std::optional<grow::Recipe> recipe;
  std::vector<Verdict> verdicts;
  size_t windows = 0;  // of the probe that were compared, in fp32 or in fp64
};

// `recipe`: how the child was made; without one it is inferred. Nothing is
// taken on its word: what the tensors must hold follows from its axes, and the
// config from the parent's. Parents are those of the recipe, in its order.
//
// A fault of the child is a verdict, also where it cannot be run at all (a
// tensor that is missing). UserError for what is wrong with a parent.
FolderVerdicts verify_folders(const std::vector<const ModelFile*>& parents,
                              const ModelFile& child,
                              const std::optional<grow::Recipe>& recipe,
                              const Probe& probe,
                              const FolderOptions& options = {});

// The verdict on a child that could not even be opened; `why` says what is
// wrong with it.
Verdict unreadable(const std::string& why);

}  // namespace annuli::verify
