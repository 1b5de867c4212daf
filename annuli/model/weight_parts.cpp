#include "annuli/model/weight_parts.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/model/give_weights.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/pass_on.h"

namespace annuli {
namespace {

// Memory of a step, which its allocator keeps for the next layer.
at::Tensor step_memory(const at::Tensor& weight) {
  return at::empty(
      weight.sizes(),
      at::TensorOptions().dtype(weight.scalar_type()).device(weight.device()));
}

at::Tensor long_memory(const at::Tensor& weight) {
  return kernels::owned_empty(weight.sizes(), weight.scalar_type(),
                              weight.device());
}

// Not the graph's tensor, whose version would change.
at::Tensor bytes_of(const at::Tensor& weight) {
  return weight.variable_data().view(-1).view(at::kByte);
}

}  // namespace

WeightParts::WeightParts(const TensorTable& table,
                         parallel::ProcessGroup& group)
    : owners_(table, group.size()), stages_(table), group_(group) {
  for (const TensorSpec& spec : table) {
    with_all_.push_back(!is_trained(spec.part));
  }
}

bool WeightParts::is_outside(size_t row) const {
  const size_t stage = stages_.stage(row);
  return stage == 0 || stage + 1 == stages_.size();
}

WeightParts::Ahead WeightParts::ask_for(const Transformer& model,
                                        int64_t layer) const {
  const at::AutoGradMode without_graph(false);
  const auto& rows = stages_.rows(static_cast<size_t>(layer) + 1);
  for (const size_t row : rows) {
    const at::Tensor& weight = model.weight(row);
    if (!stays(row)) kernels::take_memory(weight, step_memory(weight));
  }
  return {layer, begin_giving(model, owners_, rows, group_)};
}

void WeightParts::fetch(const Transformer& model, int64_t layer,
                        int64_t next) const {
  if (ahead_.layer != layer) {
    begin_pass(model);
    ahead_ = ask_for(model, layer);
  }
  {
    RECORD_USER_SCOPE("wait for weights");
    ahead_.begun.wait();
  }
  ahead_.layer = -1;
  if (0 <= next && static_cast<size_t>(next) + 2 < stages_.size()) {
    ahead_ = ask_for(model, next);
  }
}

void WeightParts::keep(int64_t layer) const { ahead_ = {layer, {}}; }

void WeightParts::begin_pass(const Transformer& model) const {
  if (ahead_.layer < 0) return;
  ahead_.begun.wait();
  drop(model, std::exchange(ahead_.layer, -1));
}

void WeightParts::drop(const Transformer& model, int64_t layer) const {
  drop_stage(model, static_cast<size_t>(layer) + 1);
}

void WeightParts::drop_stage(const Transformer& model, size_t stage) const {
  for (const size_t row : stages_.rows(stage)) {
    const at::Tensor& weight = model.weight(row);
    if (weight.defined() && !stays(row)) kernels::give_up_memory(weight);
  }
}

at::Tensor WeightParts::read(const Transformer& model, size_t row) const {
  const at::Tensor& weight = model.weight(row);
  if (is_outside(row) || is_with_all(row)) return weight;
  const at::AutoGradMode without_graph(false);
  const bool own = is_own(row);
  const at::Tensor nothing = at::empty({0}, at::kByte);
  const std::vector<at::Tensor> come = group_.exchange(
      std::vector<at::Tensor>(group_.size(), own ? bytes_of(weight) : nothing));
  if (own) return weight;
  at::Tensor copy = long_memory(weight);
  bytes_of(copy).copy_(come[owners_.owner(row)]);
  return copy;
}

at::Tensor WeightParts::read_at(int64_t process, const Transformer& model,
                                size_t row) const {
  const at::Tensor& weight = model.weight(row);
  const int64_t owner = owners_.owner(row);
  const bool here = process == group_.rank();
  if (owner == process || is_outside(row) || is_with_all(row)) {
    return here ? weight : at::Tensor();
  }
  const at::AutoGradMode without_graph(false);
  const at::Tensor own = is_own(row) ? bytes_of(weight) : at::Tensor();
  const at::Tensor come = parallel::pass_on(group_, own, owner, process);
  if (!here) return {};
  at::Tensor copy = long_memory(weight);
  bytes_of(copy).copy_(come);
  return copy;
}

std::vector<std::string> WeightParts::of_owners(
    const std::function<std::string(size_t row)>& text) const {
  Json own = Json::array();
  for (const size_t row : owners_.rows_of(group_.rank())) {
    own.push_back(text(row));
  }
  const std::vector<std::string> all = group_.gather(own.dump());
  std::vector<std::string> found;
  for (int64_t rank = 0; rank < group_.size(); ++rank) {
    const Json texts = Json::parse(all[rank]);
    size_t i = 0;
    for (const size_t row : owners_.rows_of(rank)) {
      found.resize(std::max(found.size(), row + 1));
      found[row] = texts.at(i++);
    }
  }
  return found;
}

void WeightParts::give_outside(const Transformer& model) const {
  for (const size_t stage : {size_t{0}, stages_.size() - 1}) {
    for (const size_t row : stages_.rows(stage)) {
      const at::Tensor& weight = model.weight(row);
      if (!kernels::has_memory(weight)) {
        kernels::take_memory(weight, long_memory(weight));
      }
    }
    begin_giving(model, owners_, stages_.rows(stage), group_).wait();
  }
}

void WeightParts::gather(const Transformer& model) const {
  begin_pass(model);
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    for (const size_t row : stages_.rows(stage)) {
      const at::Tensor& weight = model.weight(row);
      if (!stays(row)) kernels::take_memory(weight, long_memory(weight));
    }
    begin_giving(model, owners_, stages_.rows(stage), group_).wait();
  }
}

void WeightParts::scatter(const Transformer& model) const {
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    drop_stage(model, stage);
  }
}

void hold_in_parts(Transformer& model, parallel::ProcessGroup& group) {
  auto parts = std::make_shared<const WeightParts>(model.table(), group);
  parts->scatter(model);
  model.set_parts(std::move(parts));
}

}  // namespace annuli
