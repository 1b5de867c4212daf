#include "annuli/train/shared_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/train/flat_rows.h"

namespace annuli::train {

void give_weights(const Transformer& model, const RowOwners& owners,
                  const std::vector<size_t>& rows,
                  parallel::ProcessGroup& group, int64_t bucket_bytes) {
  RECORD_USER_SCOPE("give weights");
  const at::AutoGradMode without_graph(false);
  const int64_t n = group.size();
  std::vector<std::vector<size_t>> of_owner(n);
  for (const size_t row : rows) of_owner[owners.owner(row)].push_back(row);
  std::vector<FlatRows> flat;
  int64_t entries = 0;
  for (auto& of_one : of_owner) {
    flat.emplace_back(model.table(), std::move(of_one));
    entries = std::max(entries, flat.back().entries());
  }
  // Not the graph's tensor, whose version would change.
  const auto place = [&](const Piece& piece) {
    return piece.of(model.weight(piece.row).variable_data());
  };
  const auto options =
      at::TensorOptions().dtype(model.weight_dtype()).device(model.device());
  const auto entry =
      static_cast<int64_t>(c10::elementSize(model.weight_dtype()));
  const int64_t bucket = std::max<int64_t>(1, bucket_bytes / entry / n);
  for (int64_t begin = 0; begin < entries; begin += bucket) {
    std::vector<at::Tensor> own;
    for (const Piece& piece :
         flat[group.rank()].pieces(begin, begin + bucket)) {
      own.push_back(place(piece));
    }
    const at::Tensor packed =
        own.empty() ? at::empty({0}, options) : at::cat(own);
    const std::vector<at::Tensor> come =
        group.exchange(std::vector<at::Tensor>(n, packed));
    for (int64_t rank = 0; rank < n; ++rank) {
      if (rank == group.rank()) continue;
      for (const Piece& piece : flat[rank].pieces(begin, begin + bucket)) {
        place(piece).copy_(come[rank].narrow(0, piece.at, piece.count));
      }
    }
  }
}

SharedWeights::SharedWeights(const Transformer& model, const RowOwners& owners,
                             parallel::ProcessGroup& group)
    : model_(model), owners_(owners), group_(group), stages_(model.table()) {}

void SharedWeights::begin_passes() {
  if (std::exchange(all_here_, false)) {
    for (size_t stage = 1; stage + 1 < stages_.size(); ++stage) {
      drop_stage(stage);
    }
    return;
  }
  fetch_stage(0);
  fetch_stage(stages_.size() - 1);
}

void SharedWeights::end_passes() {
  drop_stage(0);
  drop_stage(stages_.size() - 1);
}

void SharedWeights::fetch(int64_t layer) {
  fetch_stage(static_cast<size_t>(layer) + 1);
}

void SharedWeights::drop(int64_t layer) {
  drop_stage(static_cast<size_t>(layer) + 1);
}

// Memory of a step, which its allocator keeps for the next layer.
void SharedWeights::fetch_stage(size_t stage) {
  const at::AutoGradMode without_graph(false);
  for (const size_t row : stages_.rows(stage)) {
    if (is_own(row)) continue;
    const at::Tensor& weight = model_.weight(row);
    kernels::take_memory(
        weight, at::empty(weight.sizes(), at::TensorOptions()
                                              .dtype(weight.scalar_type())
                                              .device(weight.device())));
  }
  give_weights(model_, owners_, stages_.rows(stage), group_);
}

void SharedWeights::drop_stage(size_t stage) {
  for (const size_t row : stages_.rows(stage)) {
    if (!is_own(row)) kernels::give_up_memory(model_.weight(row));
  }
}

void SharedWeights::fetch_all() {
  if (std::exchange(all_here_, true)) return;
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    for (const size_t row : stages_.rows(stage)) {
      if (is_own(row)) continue;
      const at::Tensor& weight = model_.weight(row);
      kernels::take_memory(
          weight, kernels::owned_empty(weight.sizes(), weight.scalar_type(),
                                       weight.device()));
    }
    give_weights(model_, owners_, stages_.rows(stage), group_);
  }
}

}  // namespace annuli::train
