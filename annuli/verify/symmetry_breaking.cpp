#include "annuli/verify/symmetry_breaking.h"

#include <ATen/TensorOperators.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/model/row_owners.h"
#include "annuli/model/shared_work.h"
#include "annuli/parallel/agree.h"
#include "annuli/verify/copy_pairs.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "symmetry_breaking";

// Noise of s dB below the weights makes gradients differ by about 10^(-s/20),
// 0.3 at 10 dB; equal copies differ by what fp32 rounds, sqrt(C) eps = 1e-6.
constexpr double kGradientLimit = 1e-3;
constexpr double kControlLimit = 1e-6;
constexpr double kSnrLimitDb = 0.1;
constexpr double kShareOverControl = 10;

// Share of every grown matrix that got a gradient, by one backward pass.
std::vector<double> gradient_shares(Transformer& model,
                                    const grow::Recipe& recipe,
                                    const Probe& probe,
                                    parallel::ProcessGroup& group) {
  const RowOwners owners(model.table(), group.size());
  std::vector<double> shares;
  GradientScope scope(model);
  // The same bits, and no widened copy of more than a block's weights.
  const Loss loss = model.loss(probe.tokens[0], probe.targets[0],
                               {.gradient_checkpointing = true});
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    if (is_grown_matrix(tensor) && owners.owns(group.rank(), row)) {
      shares.push_back(antisymmetric_share(gradient, tensor));
    }
  });
  const auto all = parallel::gather_numbers(group, shares);
  shares.clear();
  for (const auto& own : all) {
    shares.insert(shares.end(), own.begin(), own.end());
  }
  std::sort(shares.begin(), shares.end());
  return shares;
}

// 10 log10(mean clean^2 / mean e^2) over the contracted pairs of one matrix:
// clean = (a + b) / 2, e = (a - b) / 2.
// Nothing for a matrix of zeros, which carries no noise: the outputs of a layer
// that depth growth added and no step has trained.
std::optional<double> realised_snr_db(const at::Tensor& matrix,
                                      const grow::TensorRecipe& recipe) {
  const PairPower power = pair_power(matrix, recipe.dimensions[1], 1);
  if (power.sum == 0 && power.difference == 0) return std::nullopt;
  return 10 * std::log10(power.sum / power.difference);
}

}  // namespace

Verdict realised_noise(const grow::Recipe& recipe, const Transformer& child,
                       parallel::ProcessGroup& group) {
  const auto found = numbers_of_rows(
      child, group, "proving: noise",
      [&](size_t row, const at::Tensor& weight) -> std::vector<double> {
        const grow::TensorRecipe& tensor = recipe.tensors[row];
        // Noise upon noise has a power that no single step asked for.
        const bool is_noisy = tensor.find<grow::Noise>() != nullptr;
        if (!is_noisy || tensor.steps.size() > 1) return {};
        const auto snr = realised_snr_db(weight, tensor);
        return snr ? std::vector{*snr} : std::vector<double>{};
      });
  double worst = 0;
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  const TensorSpec* first_bad = nullptr;
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    if (found[row].empty()) continue;
    const double snr = found[row][0];
    lowest = std::min(lowest, snr);
    highest = std::max(highest, snr);
    const double asked = recipe.tensors[row].find<grow::Noise>()->snr_db;
    const double off = std::abs(snr - asked);
    worst = worse(worst, off);
    if (!(off <= kSnrLimitDb) && first_bad == nullptr) {
      first_bad = &child.table()[row];
    }
  }
  Verdict verdict =
      at_most(kCheck, "realised SNR against the asked, dB", worst, kSnrLimitDb);
  verdict.note = fmt::format("{:.3f} to {:.3f} dB", lowest, highest);
  if (first_bad != nullptr) {
    verdict.layer = first_bad->layer;
    verdict.tensor = first_bad->name;
  }
  return verdict;
}

namespace {

struct Update {
  at::Tensor change;  // dW without weight decay, in the arithmetic's type
  double rms_weight;  // of the weight it was added to
};

// The share of `before` that weight decay has taken, as the pairs of rows show
// it. Decay shrinks what noise put between two copies: a difference of the
// update that no gradient made, and of full rank. Gradients have next to no
// part along this one direction.
double decayed(const at::Tensor& change, const at::Tensor& before,
               const grow::TensorRecipe& tensor) {
  const auto changes = copy_pairs(change, tensor.dimensions[0], 0);
  const auto befores = copy_pairs(before, tensor.dimensions[0], 0);
  double along = 0;
  double power = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    const at::Tensor apart = befores[i].first - befores[i].second;
    const at::Tensor parted = changes[i].first - changes[i].second;
    along += (parted * apart).to(at::kDouble).sum().item<double>();
    power += apart.to(at::kDouble).square().sum().item<double>();
  }
  return power > 0 ? along / power : 0;
}

Update update_of(const grow::Recipe& recipe, size_t row,
                 const at::Tensor& weight,
                 const std::function<at::Tensor(const std::string&)>& parent,
                 const Transformer& trained) {
  const grow::TensorRecipe& tensor = recipe.tensors[row];
  const at::Tensor before = grow::apply(tensor, parent(tensor.parent),
                                        recipe.seed, trained.weight_dtype())
                                .to(trained.dtype());
  const at::Tensor after = weight.cpu().to(trained.dtype());
  const at::Tensor change = after - before;
  return {change - decayed(change, before, tensor) * before,
          before.norm().item<double>() /
              std::sqrt(static_cast<double>(before.numel()))};
}

struct Rank {
  int64_t rank;
  // What copies whose rows have parted add to the rank is of second order: the
  // update times its size over the weight's, spread over many directions. False
  // where rounding hides it.
  bool tells;
};

// Singular values above what storage rounding alone would make. Each of `steps`
// updates rounds an entry by up to eps/2 of the weight; a random P x C matrix
// of entries of deviation s has spectral norm s (sqrt(P) + sqrt(C)).
Rank rank_of(const Update& update, int64_t steps) {
  const at::Tensor& d = update.change;
  const double rounding = update.rms_weight *
                          std::sqrt(static_cast<double>(steps)) *
                          (update.change.scalar_type() == at::kDouble
                               ? std::numeric_limits<double>::epsilon()
                               : std::numeric_limits<float>::epsilon());
  const double threshold =
      rounding * (std::sqrt(static_cast<double>(d.size(0))) +
                  std::sqrt(static_cast<double>(d.size(1))));
  const double rms =
      d.norm().item<double>() / std::sqrt(static_cast<double>(d.numel()));
  const auto largest = static_cast<double>(std::max(d.size(0), d.size(1)));
  const double second_order =
      rms * rms / update.rms_weight * std::sqrt(largest);
  return {squared_singular_values(d)
              .gt(threshold * threshold)
              .sum()
              .item<int64_t>(),
          second_order > threshold};
}

// Weights in bf16 are rounded at random, each entry by itself, so copies part
// even where their gradients agree, and nothing can be told from ranks. What
// rounding does to the difference of two copies has no structure; what
// gradients do to it has: they are sums over few tokens. Noise has 1 to a few
// percent; one matrix that is clearly above tells.
constexpr double kStructure = 1.25;

struct Structure {
  double largest = 0;
  const TensorSpec* of = nullptr;

  void see(const TensorSpec& spec, double structure) {
    if (of != nullptr && !(structure > largest)) return;
    largest = structure;
    of = &spec;
  }
  Verdict verdict() const {
    Verdict verdict =
        at_least(kCheck, "structure in how copies parted, clearest of samples",
                 largest, kStructure);
    verdict.note = fmt::format("{}; rounding alone: 1", of->name);
    return verdict;
  }
};

// One matrix of each kind, of the middle layer and the first expert.
bool is_sample(const TensorSpec& spec, const ModelConfig& config) {
  const bool kind = spec.part == Part::kQ || spec.part == Part::kQkv ||
                    spec.part == Part::kO || spec.part == Part::kUp;
  return kind && spec.layer == config.num_hidden_layers / 2 && spec.expert <= 0;
}

Verdict rank_verdict(const TensorSpec& spec, const grow::TensorRecipe& tensor,
                     const Rank& found) {
  const std::vector<int64_t> shape = spec.shape();
  const int64_t parent_rank = std::min(shape[0] / tensor.produced_copies,
                                       shape[1] / tensor.contracted_copies);
  Verdict verdict = at_least(kCheck, "rank of the update to " + spec.name,
                             static_cast<double>(found.rank),
                             static_cast<double>(parent_rank + 1));
  // An expert may have been chosen while its copies were equal, and never
  // since.
  verdict.is_advice = !found.tells || spec.expert >= 0;
  verdict.note = fmt::format("{} at most without noise{}", parent_rank,
                             found.tells ? "" : "; too small a step to tell");
  verdict.layer = spec.layer;
  verdict.tensor = spec.name;
  return verdict;
}

}  // namespace

SymmetryControl symmetry_control(const Transformer& parent,
                                 const grow::Recipe& recipe, const Probe& probe,
                                 parallel::ProcessGroup& group,
                                 const std::vector<at::Tensor>& router_mean) {
  const grow::Recipe noiseless = grow::without_noise(recipe);
  Transformer shared = parent;
  Transformer child = grow::grow(std::move(shared), noiseless, router_mean);
  const auto shares = gradient_shares(child, recipe, probe, group);
  return {.gradient_difference = shares.empty() ? 0 : shares.back()};
}

std::vector<Verdict> copies_without_noise(const grow::Recipe& recipe) {
  if (recipe.has_noise()) return {};
  const auto tied = std::ranges::count_if(recipe.tensors, is_grown_matrix);
  if (tied == 0) return {};
  Verdict verdict =
      at_most(kCheck, "matrices whose copies get equal gradients for ever",
              static_cast<double>(tied), 0);
  verdict.is_advice = true;
  verdict.note = "no noise: the wide model never leaves the narrow one's space";
  return {verdict};
}

std::vector<Verdict> symmetry_at_growth(const grow::Recipe& recipe,
                                        const Probe& probe,
                                        const SymmetryControl& control,
                                        Transformer& child,
                                        parallel::ProcessGroup& group) {
  std::vector<Verdict> verdicts = {realised_noise(recipe, child, group)};
  const auto shares = gradient_shares(child, recipe, probe, group);
  if (shares.empty()) return verdicts;
  const double median = shares[shares.size() / 2];
  Verdict gradients =
      at_least(kCheck, "gradients of paired copies, median over matrices",
               median, kGradientLimit);
  const auto apart = std::count_if(shares.begin(), shares.end(), [](double s) {
    return s >= kGradientLimit;
  });
  gradients.note =
      fmt::format("{} of {} matrices above it", apart, shares.size());
  verdicts.push_back(gradients);
  verdicts.push_back(at_most(kCheck, "the same without noise, largest",
                             control.gradient_difference, kControlLimit));
  return verdicts;
}

std::vector<Verdict> symmetry_after_phase(
    const grow::Recipe& recipe, const SymmetryControl& control,
    const std::function<at::Tensor(const std::string&)>& parent_tensor,
    int64_t steps, const Transformer& trained, parallel::ProcessGroup& group) {
  const bool in_bf16 = trained.weight_dtype() == at::kBFloat16;
  // The antisymmetric share, and of a sample its structure or its rank.
  const auto found = numbers_of_rows(
      trained, group, "proving: how far copies parted",
      [&](size_t row, const at::Tensor& weight) -> std::vector<double> {
        const grow::TensorRecipe& tensor = recipe.tensors[row];
        if (!is_grown_matrix(tensor)) return {};
        const Update update =
            update_of(recipe, row, weight, parent_tensor, trained);
        const double share = antisymmetric_share(update.change, tensor);
        if (!is_sample(trained.table()[row], trained.config())) return {share};
        if (in_bf16) {
          return {share, difference_structure(update.change, tensor)};
        }
        const Rank rank = rank_of(update, steps);
        return {share, static_cast<double>(rank.rank),
                static_cast<double>(rank.tells)};
      });
  double sum = 0;
  int64_t count = 0;
  std::vector<Verdict> samples;
  Structure structure;
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    const std::vector<double>& of_row = found[row];
    if (of_row.empty()) continue;
    sum += of_row[0];
    ++count;
    const TensorSpec& spec = trained.table()[row];
    if (of_row.size() == 1) continue;
    if (in_bf16) {
      structure.see(spec, of_row[1]);
    } else {
      samples.push_back(
          rank_verdict(spec, recipe.tensors[row],
                       {static_cast<int64_t>(of_row[1]), of_row[2] != 0}));
    }
  }
  if (structure.of != nullptr) samples.push_back(structure.verdict());
  if (count == 0) return {};
  Verdict share = at_least(
      kCheck, "antisymmetric share of the update, mean over matrices",
      sum / static_cast<double>(count),
      // A control of exactly 0 must not make the check one that cannot fail.
      kShareOverControl * std::max(control.gradient_difference, kControlLimit));
  share.note = fmt::format("{} x the share without noise, {:.2g}",
                           kShareOverControl, control.gradient_difference);
  std::vector<Verdict> verdicts = {share};
  verdicts.insert(verdicts.end(), samples.begin(), samples.end());
  return verdicts;
}

}  // namespace annuli::verify
