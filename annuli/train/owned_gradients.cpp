#include "annuli/train/owned_gradients.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/model/flat_rows.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/gradient_sums.h"

namespace annuli::train {
namespace {

constexpr char kHere = 'x';
constexpr char kAbsent = '.';

// Rows of one stage, whose entries go to their owners a bucket at a time.
class Stage {
 public:
  Stage(const Transformer& model, const RowOwners& owners,
        parallel::ProcessGroup& group, const std::vector<size_t>& rows,
        const std::vector<std::string>& present,
        std::vector<at::Tensor>& gradients)
      : model_(model),
        group_(group),
        gradients_(gradients),
        has_(group.size(), std::vector<bool>(gradients.size())),
        options_(
            at::TensorOptions().dtype(model.dtype()).device(model.device())) {
    std::vector<std::vector<size_t>> of_owner(group.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      bool anywhere = false;
      for (int64_t rank = 0; rank < group.size(); ++rank) {
        const bool has = present[rank][i] == kHere;
        has_[rank][rows[i]] = has;
        anywhere = anywhere || has;
      }
      if (anywhere) of_owner[owners.owner(rows[i])].push_back(rows[i]);
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
          if (!has_[rank][piece.row]) return {};
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
  std::vector<std::vector<bool>> has_;  // [process][row]
  at::TensorOptions options_;
  std::vector<FlatRows> flat_;  // of each owner
  int64_t entries_ = 0;
};

}  // namespace

OwnedGradients::OwnedGradients(const Transformer& model,
                               const RowOwners& owners,
                               parallel::ProcessGroup& group, Rest rest,
                               Use use, int64_t bucket_bytes)
    : model_(model),
      owners_(owners),
      group_(group),
      rest_(std::move(rest)),
      use_(std::move(use)),
      bucket_bytes_(bucket_bytes),
      stages_(model.table()),
      above_(stages_.size()),
      gradients_(model.table().size()),
      came_(model.table().size(), false) {}

void OwnedGradients::add(size_t row, at::Tensor gradient) {
  const size_t stage = stages_.stage(row);
  ANNULI_CHECK(stage < above_, "the gradient of {} after those below it",
               model_.table()[row].name);
  while (above_ > stage + 1) sum_stage(--above_);
  gradients_[row] = std::move(gradient);
  came_[row] = true;
}

void OwnedGradients::finish() {
  while (above_ > 0) sum_stage(--above_);
}

void OwnedGradients::sum_stage(size_t stage) {
  RECORD_USER_SCOPE("exchange gradients");
  const std::vector<size_t>& rows = stages_.rows(stage);
  for (const size_t row : rows) {
    at::Tensor& gradient = gradients_[row];
    if (!came_[row]) gradient = rest_(row);
    if (!gradient.defined()) continue;
    ANNULI_CHECK(gradient.scalar_type() == model_.dtype(),
                 "the gradient of {} is of another type",
                 model_.table()[row].name);
    gradient = gradient.contiguous();
  }
  sum_rows(rows, present_of(rows));
  for (const size_t row : rows) {
    at::Tensor sum = std::exchange(gradients_[row], at::Tensor());
    if (owners_.owns(group_.rank(), row)) use_(row, std::move(sum));
  }
}

std::vector<std::string> OwnedGradients::present_of(
    const std::vector<size_t>& rows) {
  std::string own;
  for (const size_t row : rows) {
    own += gradients_[row].defined() ? kHere : kAbsent;
  }
  return group_.gather(own);
}

void OwnedGradients::sum_rows(const std::vector<size_t>& rows,
                              const std::vector<std::string>& present) {
  Stage stage(model_, owners_, group_, rows, present, gradients_);
  const auto entry = static_cast<int64_t>(c10::elementSize(model_.dtype()));
  const int64_t bucket =
      std::max<int64_t>(1, bucket_bytes_ / entry / group_.size());
  for (int64_t begin = 0; begin < stage.entries(); begin += bucket) {
    stage.sum(begin, begin + bucket);
  }
}

}  // namespace annuli::train
