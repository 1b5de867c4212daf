#include "annuli/run/growth_step.h"

#include <chrono>
#include <limits>
#include <utility>

#include "annuli/grow/coded_growth.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/kernels/memory/caching_allocator.h"

namespace annuli::run {
namespace {

using Clock = std::chrono::steady_clock;

double measured_loss(const std::vector<verify::Verdict>& verdicts) {
  for (const verify::Verdict& verdict : verdicts) {
    if (verdict.data.contains("loss_after")) {
      return verdict.data.at("loss_after");
    }
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::vector<optim::TensorState> grown_states(
    const grow::Recipe& recipe, std::vector<optim::TensorState>&& parent,
    const GrowthOrder& order, const TensorTable& parent_table,
    const TensorTable& child_table) {
  grow::StateGrowth growth{.optimizer = order.grow.optimizer,
                           .dynamics = order.grow.dynamics};
  if (order.holders == nullptr) {
    return grow::grow_state(recipe, std::move(parent), growth);
  }
  const int64_t processes = order.holders->size();
  const RowOwners of_parent(parent_table, processes);
  const RowOwners of_child(child_table, processes);
  const grow::StateOwners owners{of_parent, of_child, *order.holders};
  growth.owners = &owners;
  return grow::grow_state(recipe, std::move(parent), growth);
}

}  // namespace

Grown grow_and_verify(Transformer&& parent,
                      std::vector<optim::TensorState>&& optimizer,
                      const GrowthOrder& order, const verify::Probe& probe) {
  const auto start = Clock::now();
  const auto between_parts = [&] {
    if (order.between_parts) order.between_parts();
  };
  grow::Recipe recipe = grow::recipe_of(order.grow, parent.config(), order.seed,
                                        parent.numbers());
  const bool widens = recipe.width_factor > 1;
  const verify::ProbeDivision division(probe, recipe, order.group,
                                       parent.parts() != nullptr);
  const grow::CentroidOrder centroids{recipe.router_centroids(), order.seed};
  const auto record =
      verify::ParentRecord::take(parent, probe, widens, division, centroids);
  const std::vector<at::Tensor>& router_rows =
      centroids.count > 0 ? record.centroids : record.feed_forward_mean;
  std::optional<verify::SymmetryControl> control;
  if (recipe.has_noise()) {
    control = verify::symmetry_control(
        parent, recipe, probe, order.group,
        recipe.needs_router_mean() ? router_rows : std::vector<at::Tensor>());
    kernels::give_back_memory();
  }
  between_parts();

  const TensorTable parent_table = parent.table();
  Transformer child = grow::grow(std::move(parent), recipe, router_rows);
  auto states = grown_states(recipe, std::move(optimizer), order, parent_table,
                             child.table());
  kernels::give_back_memory();
  between_parts();

  const verify::GrowthEvidence evidence{
      .parent = record,
      .recipe = recipe,
      .probe = probe,
      .control = control ? &*control : nullptr,
      .loss_budget = order.loss_budget,
  };
  auto verdicts = verify::verify_growth(evidence, child);
  for (const verify::Verdict& verdict : verify::copies_without_noise(recipe)) {
    verdicts.push_back(verdict);
  }
  verify::allow(verdicts, order.allow);
  const double loss_after = measured_loss(verdicts);
  const std::chrono::duration<double> seconds = Clock::now() - start;
  return {.model = std::move(child),
          .optimizer = std::move(states),
          .recipe = std::move(recipe),
          .verdicts = std::move(verdicts),
          .control = control,
          .loss_before = record.loss,
          .loss_after = loss_after,
          .seconds = seconds.count()};
}

}  // namespace annuli::run
