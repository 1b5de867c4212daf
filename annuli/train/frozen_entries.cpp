#include "annuli/train/frozen_entries.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/error.h"
#include "annuli/model/tensor_part.h"

namespace annuli::train {
namespace {

template <typename T>
bool holds(const std::vector<T>& list, const T& value) {
  return std::ranges::find(list, value) != list.end();
}

bool is_named(const FreezePlan& plan, const TensorSpec& spec) {
  return holds(plan.parts, tensor_part(spec)) ||
         (spec.layer >= 0 && holds(plan.layers, spec.layer)) ||
         (spec.expert >= 0 && holds(plan.experts, spec.expert));
}

int64_t entries_of(const std::vector<std::pair<int64_t, int64_t>>& runs) {
  int64_t entries = 0;
  for (const auto& [begin, length] : runs) entries += length;
  return entries;
}

// What of the parents stands in a tensor. Equal for copies.
using Origin = std::tuple<std::string, std::vector<int64_t>,
                          std::vector<std::pair<int64_t, int64_t>>>;

Origin origin_of(const grow::TensorRecipe& line) {
  std::vector<std::pair<int64_t, int64_t>> slices;
  for (const grow::DimensionRecipe& dimension : line.dimensions) {
    for (const grow::Slice& slice : dimension.slices) {
      slices.emplace_back(slice.start, slice.length);
    }
  }
  return {line.parent, line.models, slices};
}

}  // namespace

FrozenEntries::FrozenEntries(const FreezePlan& plan, const TensorTable& table,
                             const grow::Recipe* growth)
    : whole_(table.size()), parts_(table.size()) {
  for (size_t row = 0; row < table.size(); ++row) {
    whole_[row] = is_named(plan, table[row]);
  }
  if (plan.parent) {
    ANNULI_CHECK(growth != nullptr, "freeze: parent in a phase without growth");
    add_parent(table, *growth);
  }
  bool trains = false;
  for (size_t row = 0; row < table.size(); ++row) {
    trains = trains || (!whole_[row] && is_trained(table[row].part));
  }
  if (!trains) {
    user_error(
        "freezing for a phase: found every tensor named, expected some to "
        "train; change train.freeze and go on with --resume");
  }
}

FrozenEntries FrozenEntries::of_parent(const TensorTable& table,
                                       const grow::Recipe& growth) {
  FrozenEntries entries;
  entries.whole_.resize(table.size());
  entries.parts_.resize(table.size());
  entries.add_parent(table, growth);
  return entries;
}

void FrozenEntries::add_parent(const TensorTable& table,
                               const grow::Recipe& growth) {
  std::set<Origin> seen;
  for (size_t row = 0; row < table.size(); ++row) {
    const grow::TensorRecipe& line = growth.tensors[row];
    if (line.source != grow::Source::kParent) continue;
    if (!seen.insert(origin_of(line)).second || whole_[row]) continue;
    Block block;
    int64_t entries = 1;
    for (const grow::DimensionRecipe& dimension : line.dimensions) {
      block.push_back(first_places(dimension));
      entries *= entries_of(block.back());
    }
    if (entries == table[row].numel()) {
      whole_[row] = true;
    } else {
      parts_[row] = std::move(block);
    }
  }
}

std::vector<FrozenEntries::Run> FrozenEntries::first_places(
    const grow::DimensionRecipe& dimension) {
  std::vector<Run> runs;
  std::set<int64_t> seen;
  int64_t at = 0;
  for (const grow::Slice& slice : dimension.slices) {
    for (int64_t i = 0; i < slice.length; ++i, ++at) {
      if (slice.is_new() || !seen.insert(slice.start + i).second) continue;
      if (!runs.empty() && runs.back().first + runs.back().second == at) {
        ++runs.back().second;
      } else {
        runs.emplace_back(at, 1);
      }
    }
  }
  return runs;
}

std::vector<at::Tensor> FrozenEntries::views(const Block& block,
                                             const at::Tensor& weight) {
  std::vector<at::Tensor> parts = {weight};
  for (size_t dimension = 0; dimension < block.size(); ++dimension) {
    std::vector<at::Tensor> narrower;
    for (const at::Tensor& part : parts) {
      for (const auto& [begin, length] : block[dimension]) {
        narrower.push_back(
            part.narrow(static_cast<int64_t>(dimension), begin, length));
      }
    }
    parts = std::move(narrower);
  }
  return parts;
}

std::vector<at::Tensor> FrozenEntries::copy_of(size_t row,
                                               const at::Tensor& weight) const {
  std::vector<at::Tensor> copy;
  if (!has_part(row)) return copy;
  for (const at::Tensor& view : views(parts_[row], weight)) {
    copy.push_back(view.clone());
  }
  return copy;
}

void FrozenEntries::put_back(size_t row, const std::vector<at::Tensor>& copy,
                             at::Tensor& weight) const {
  if (!has_part(row)) return;
  const std::vector<at::Tensor> places = views(parts_[row], weight);
  for (size_t i = 0; i < places.size(); ++i) places[i].copy_(copy[i]);
}

std::string FrozenEntries::hash(const Transformer& model) const {
  std::vector<std::string> hashes;
  for (size_t row = 0; row < whole_.size(); ++row) {
    if (!whole_[row] && !has_part(row)) continue;
    const at::Tensor weight = model.read_weight(row).detach();
    const std::vector<at::Tensor> entries =
        whole_[row] ? std::vector<at::Tensor>{weight} : copy_of(row, weight);
    for (const at::Tensor& part : entries) {
      hashes.push_back(
          tensor_hash({model.table()[row].name, part.cpu().contiguous()}));
    }
  }
  return hashes.empty() ? "" : content_hash_of(hashes);
}

}  // namespace annuli::train
