#include "annuli/train/owned_gradients.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/model/flat_rows.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/gradient_sums.h"

namespace annuli::train {
namespace {

class OwnedRows {
 public:
  OwnedRows(const Transformer& model, const RowOwners& owners,
            parallel::ProcessGroup& group, const std::vector<size_t>& rows,
            const PresentRows& present, std::vector<at::Tensor>& gradients)
      : model_(model),
        group_(group),
        gradients_(gradients),
        present_(present),
        options_(
            at::TensorOptions().dtype(model.dtype()).device(model.device())) {
    std::vector<std::vector<size_t>> of_owner(group.size());
    for (const size_t row : rows) {
      const bool anywhere = std::ranges::any_of(
          present, [&](const auto& of_one) { return of_one[row]; });
      if (anywhere) of_owner[owners.owner(row)].push_back(row);
    }
    for (auto& of_one : of_owner) {
      flat_.emplace_back(model.table(), std::move(of_one));
      entries_ = std::max(entries_, flat_.back().entries());
    }
  }

  // Of those that the owner with the most has.
  int64_t entries() const { return entries_; }

  void sum(int64_t begin, int64_t end) {
    std::vector<at::Tensor> to;
    for (int64_t rank = 0; rank < group_.size(); ++rank) {
      to.push_back(rank == group_.rank() ? at::empty({0}, options_)
                                         : packed(rank, begin, end));
    }
    std::vector<at::Tensor> come = group_.exchange(to);
    to.clear();
    RECORD_USER_SCOPE("sum gradients");
    for (const Piece& piece : flat_[group_.rank()].pieces(begin, end)) {
      take_sum(piece, come);
    }
  }

 private:
  at::Tensor packed(int64_t owner, int64_t begin, int64_t end) const {
    std::vector<at::Tensor> found;
    for (const Piece& piece : flat_[owner].pieces(begin, end)) {
      const at::Tensor& gradient = gradients_[piece.row];
      if (gradient.defined()) found.push_back(piece.of(gradient));
    }
    return found.empty() ? at::empty({0}, options_) : at::cat(found);
  }

  // The front of what has come of a process is its part of the piece.
  void take_sum(const Piece& piece, std::vector<at::Tensor>& come) {
    at::Tensor& gradient = gradients_[piece.row];
    at::Tensor place = gradient.defined() ? piece.of(gradient) : at::Tensor();
    const at::Tensor sum = parallel::tree_sum(
        0, group_.size(),
        [&](int64_t rank) -> at::Tensor {
          if (!present_[rank][piece.row]) return {};
          if (rank == group_.rank()) return place;
          const at::Tensor part = come[rank].narrow(0, 0, piece.count);
          come[rank] = come[rank].narrow(0, piece.count,
                                         come[rank].numel() - piece.count);
          return part;
        },
        sum_of_present);
    if (!gradient.defined()) {
      gradient = at::empty(model_.weight(piece.row).sizes(), options_);
      place = piece.of(gradient);
    }
    if (!sum.is_same(place)) place.copy_(sum);
  }

  const Transformer& model_;
  parallel::ProcessGroup& group_;
  std::vector<at::Tensor>& gradients_;
  const PresentRows& present_;
  at::TensorOptions options_;
  std::vector<FlatRows> flat_;  // of each owner
  int64_t entries_ = 0;
};

}  // namespace

void sum_to_owners(const Transformer& model, const RowOwners& owners,
                   const std::vector<size_t>& rows, const PresentRows& present,
                   std::vector<at::Tensor>& gradients,
                   parallel::ProcessGroup& group, int64_t bucket_bytes) {
  OwnedRows owned(model, owners, group, rows, present, gradients);
  const auto entry = static_cast<int64_t>(c10::elementSize(model.dtype()));
  const int64_t bucket =
      parallel::slice_of_bucket(bucket_bytes, entry, group.size());
  for (int64_t begin = 0; begin < owned.entries(); begin += bucket) {
    owned.sum(begin, begin + bucket);
  }
}

}  // namespace annuli::train
