#include "annuli/verify/verify_folders.h"

#include <ATen/ops/isfinite.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/verify/boundary_record.h"
#include "annuli/verify/config_audit.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/infer_recipe.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/probe_share.h"
#include "annuli/verify/rope_integrity.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/router_logit_scale.h"
#include "annuli/verify/side_by_side.h"
#include "annuli/verify/sketch.h"
#include "annuli/verify/symmetry_breaking.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

void append(std::vector<Verdict>& verdicts, std::vector<Verdict>&& more) {
  for (Verdict& verdict : more) verdicts.push_back(std::move(verdict));
}

// Weights stay where they are, in the type they have.
Transformer open_mapped(const ModelFile& file, at::ScalarType arithmetic) {
  return load_model(file, {.dtype = arithmetic, .as_stored = true});
}

// A parent that holds NaN or an infinity is to blame by itself. Its sketches,
// which hold every entry in some sum, tell; only then is it read again.
void require_sound_values(const ModelFile& parent,
                          const std::vector<Sketch>& sketches) {
  const auto finite = [](const Sketch& sketch) {
    return at::isfinite(sketch.value).all().item<bool>();
  };
  if (std::ranges::all_of(sketches, finite)) return;
  require_finite(parent, "verifying against the parent");
}

// The child's files hold what its config says, and that is what the growth
// makes; else a verdict that says what is missing.
std::optional<Verdict> cannot_be_run(const ModelFile& child) {
  const std::vector<std::string> faults = child.faults();
  if (faults.empty()) return std::nullopt;
  Verdict verdict =
      unreadable(faults.size() == 1 ? faults[0]
                                    : fmt::format("{} (and {} more)", faults[0],
                                                  faults.size() - 1));
  verdict.measured = static_cast<double>(faults.size());
  return verdict;
}

bool same_rows(const TensorTable& a, const TensorTable& b) {
  if (a.size() != b.size()) return false;
  for (size_t row = 0; row < a.size(); ++row) {
    if (a[row].name != b[row].name || a[row].shape() != b[row].shape()) {
      return false;
    }
  }
  return true;
}

class FolderVerifier {
 public:
  FolderVerifier(const std::vector<Transformer>& parents,
                 const Transformer& child, const grow::Recipe& recipe,
                 const Probe& probe, const FolderOptions& options)
      : parents_(parents),
        child_(child),
        recipe_(recipe),
        probe_(probe),
        options_(options),
        few_(options.whole_probe
                 ? probe.tokens.size()
                 : windows_needed(recipe, probe.tokens[0].size(1),
                                  probe.tokens.size())) {}

  std::vector<Verdict> run(const std::vector<std::vector<Sketch>>& sketches) {
    verdicts_ = {config_audit(recipe_, child_.config())};
    std::vector<Verdict> audit =
        tensor_audit(sketches, recipe_, child_, {}, options_.group);
    const bool can_run = audit.front().passed;
    append(verdicts_, std::move(audit));
    if (!can_run) return std::move(verdicts_);
    roundoff_ = storage_roundoff(sketches[0], recipe_, child_);
    FunctionalIdentity bitwise(recipe_, {options_.arithmetic, roundoff_},
                               /*equal_shapes=*/true);
    FunctionalIdentity in_double(recipe_, {at::kDouble, roundoff_},
                                 /*equal_shapes=*/false);
    if (options_.group.rank() == options_.group.size() - 1) {
      compare_bits(bitwise);
      compare_in_double(in_double);
    }
    std::vector<Verdict> of_windows;
    if (options_.group.is_first()) of_windows = compare();
    share_seen(options_.group, {&bitwise, &in_double});
    if (has_bits()) append(verdicts_, bitwise.verdicts());
    append(verdicts_, std::move(of_windows));
    if (has_double()) append(verdicts_, in_double.verdicts());
    if (recipe_.has_noise()) {
      verdicts_.push_back(realised_noise(recipe_, child_, options_.group));
    }
    name_culprit(verdicts_);
    return std::move(verdicts_);
  }

  size_t windows() const { return windows_; }

 private:
  // Of the first window, a few tokens: what needs more time a token.
  void compare_few_tokens(at::ScalarType arithmetic, Dispatch dispatch,
                          FunctionalIdentity& identity) {
    run_side_by_side(parents_[0], child_, recipe_, probe_,
                     {.arithmetic = arithmetic,
                      .dispatch = dispatch,
                      .windows = 1,
                      .length = kCostlyTokens,
                      .storage_roundoff = roundoff_},
                     {&identity});
  }

  bool has_bits() const { return is_plain_upcycle(recipe_) && roundoff_ == 0; }

  void compare_bits(FunctionalIdentity& bitwise) {
    if (!has_bits()) return;
    compare_few_tokens(options_.arithmetic, Dispatch::kFullBlock, bitwise);
  }

  // On as many windows as decide; where they do not, on all.
  std::vector<Verdict> compare() {
    std::vector<Verdict> verdicts;
    windows_ = few_;
    if (!compare_windows(verdicts)) {
      windows_ = probe_.tokens.size();
      verdicts.clear();
      compare_windows(verdicts);
    }
    return verdicts;
  }

  // Whether the first `windows_` have decided.
  bool compare_windows(std::vector<Verdict>& verdicts) {
    const Precision precision{options_.arithmetic, roundoff_};
    FunctionalIdentity identity(recipe_, precision, /*equal_shapes=*/false);
    RopeIntegrity rope(recipe_, precision);
    RouterLogitScale router(recipe_, roundoff_);
    const SideBySide run =
        run_side_by_side(parents_[0], child_, recipe_, probe_,
                         {.arithmetic = options_.arithmetic,
                          .windows = windows_,
                          .storage_roundoff = roundoff_},
                         {&identity, &rope, &router});
    if (!decides(run)) return false;
    append(verdicts, identity.verdicts());
    append(verdicts, rope.verdicts());
    append(verdicts, router.verdicts());
    if (run.compared < 1) {
      verdicts.push_back(compared_share(run.compared));
    }
    if (is_upcycle(recipe_)) append(verdicts, load_of(run.experts));
    if (makes_gates(recipe_)) {
      verdicts.push_back(router_gates(child_.config()));
    }
    verdicts.push_back(boundary_record(
        parents_loss(run.loss_before), run.loss_after, recipe_.exact,
        loss_budget(), identity_limit(recipe_, precision)));
    return true;
  }

  double loss_budget() const {
    return options_.loss_budget.value_or(recipe_.loss_budget);
  }

  bool decides(const SideBySide& run) const {
    if (windows_ == probe_.tokens.size()) return true;
    if (run.compared < kFewestCompared) return false;
    const double rise = run.loss_after - run.loss_before;
    return recipe_.exact ||
           std::abs(rise - loss_budget()) > kErrorsThatDecide * run.loss_error;
  }

  // Of the tokens that were compared, if they are enough for a statistic.
  std::vector<Verdict> load_of(const std::vector<at::Tensor>& experts) const {
    const int64_t needed = router_tokens_needed(child_.config());
    const std::vector<bool> closed = closed_by(recipe_);
    return experts.at(0).size(0) >= needed
               ? router_load(child_, experts, probe_.is_text, closed)
               : router_load(child_, probe_, closed);
  }

  bool has_double() const {
    const bool bitwise =
        is_plain_upcycle(recipe_) || keeps_every_tensor(recipe_);
    return options_.arithmetic != at::kDouble && !bitwise && recipe_.exact;
  }

  void compare_in_double(FunctionalIdentity& in_double) {
    if (!has_double()) return;
    compare_few_tokens(at::kDouble, Dispatch::kSorted, in_double);
  }

  // What a merged child's loss is held against: the mean of its parents'.
  double parents_loss(double first) const {
    double sum = first;
    for (size_t i = 1; i < parents_.size(); ++i) {
      sum += streamed_loss(parents_[i], probe_, options_.arithmetic);
    }
    return sum / static_cast<double>(parents_.size());
  }

  const std::vector<Transformer>& parents_;
  const Transformer& child_;
  const grow::Recipe& recipe_;
  const Probe& probe_;
  const FolderOptions& options_;
  size_t few_;  // windows that are compared first
  size_t windows_ = 0;
  double roundoff_ = 0;
  std::vector<Verdict> verdicts_;
};

}  // namespace

Verdict unreadable(const std::string& why) {
  Verdict verdict = at_most("tensor_audit",
                            "faults that keep the child from being run", 1, 0);
  verdict.note = why;
  return verdict;
}

FolderVerdicts verify_folders(const std::vector<const ModelFile*>& parents,
                              const ModelFile& child,
                              const std::optional<grow::Recipe>& recipe,
                              const Probe& probe,
                              const FolderOptions& options) {
  ANNULI_CHECK(!parents.empty() && !probe.tokens.empty(),
               "{} parents, {} tokens", parents.size(), probe.tokens.size());
  for (const ModelFile* parent : parents) {
    require_sound(*parent, "verifying against the parent");
  }
  FolderVerdicts result{.recipe = recipe};
  if (auto fault = cannot_be_run(child)) {
    result.verdicts = {*std::move(fault)};
    return result;
  }
  std::vector<Transformer> models;
  std::vector<std::vector<Sketch>> sketches;
  for (const ModelFile* parent : parents) {
    models.push_back(open_mapped(*parent, options.arithmetic));
    sketches.push_back(sketches_of(models.back(), options.group));
    require_sound_values(*parent, sketches.back());
  }
  const Transformer grown = open_mapped(child, options.arithmetic);
  if (!result.recipe) {
    try {
      result.recipe = infer_recipe(models[0].config(), sketches[0], grown,
                                   static_cast<int64_t>(models.size()));
    } catch (const UserError& error) {
      result.verdicts = {unreadable(error.what())};
      return result;
    }
  }
  if (!same_rows(grown.table(), tensor_table(result.recipe->child))) {
    result.verdicts = {config_audit(*result.recipe, grown.config()),
                       unreadable("its tensors are not those that the growth "
                                  "makes")};
    return result;
  }
  FolderVerifier verifier(models, grown, *result.recipe, probe, options);
  result.verdicts = verifier.run(sketches);
  result.windows = verifier.windows();
  return result;
}

}  // namespace annuli::verify
