#include "annuli/train/gradient_exchange.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "annuli/model/flat_rows.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/gradient_sums.h"

namespace annuli::train {
namespace {

class Exchange {
 public:
  Exchange(const Transformer& model, const PresentRows& present,
           std::vector<at::Tensor>& gradients, parallel::ProcessGroup& group)
      : model_(model),
        present_(present),
        gradients_(gradients),
        group_(group),
        options_(
            at::TensorOptions().dtype(model.dtype()).device(model.device())),
        rows_(model.table(), rows_anywhere()) {}

  int64_t entries() const { return rows_.entries(); }

  // Of the entries [begin, end).
  void sum_bucket(int64_t begin, int64_t end) {
    const int64_t n = group_.size();
    const int64_t part = (end - begin + n - 1) / n;
    at::Tensor own = packed(begin, end, n * part);
    const at::Tensor columns = group_.all_to_all(own.view({n, part}));
    own.reset();
    const int64_t first = std::min(end, begin + group_.rank() * part);
    const int64_t last = std::min(end, first + part);
    unpack(begin, end,
           group_.all_gather(sum_of_columns(first, last, columns)).view(-1));
  }

 private:
  // The last first, as the backward pass gives them.
  std::vector<size_t> rows_anywhere() const {
    std::vector<size_t> rows;
    for (size_t row = gradients_.size(); row-- > 0;) {
      if (std::ranges::any_of(present_,
                              [&](const auto& of_one) { return of_one[row]; }))
        rows.push_back(row);
    }
    return rows;
  }

  at::Tensor packed(int64_t begin, int64_t end, int64_t size) const {
    RECORD_USER_SCOPE("pack gradients");
    at::Tensor bucket = at::empty({size}, options_);
    bucket.narrow(0, end - begin, size - (end - begin)).zero_();
    for (const Piece& piece : rows_.pieces(begin, end)) {
      const at::Tensor& gradient = gradients_[piece.row];
      at::Tensor place = bucket.narrow(0, piece.at, piece.count);
      if (gradient.defined()) {
        place.copy_(piece.of(gradient));
      } else {
        place.zero_();
      }
    }
    return bucket;
  }

  // Pieces side by side that the same processes have are summed at once; all of
  // them in the columns' memory.
  at::Tensor sum_of_columns(int64_t first, int64_t last,
                            const at::Tensor& columns) const {
    RECORD_USER_SCOPE("sum gradients");
    const int64_t part = columns.size(1);
    const std::vector<Piece> all = rows_.pieces(first, last);
    std::vector<at::Tensor> sums;
    for (size_t i = 0; i < all.size();) {
      const std::vector<bool> holders = holders_of(all[i].row);
      int64_t count = 0;
      const int64_t at = all[i].at;
      for (; i < all.size() && holders_of(all[i].row) == holders; ++i) {
        count += all[i].count;
      }
      const at::Tensor of_holders = columns.narrow(1, at, count);
      sums.push_back(parallel::tree_sum(
          0, group_.size(),
          [&](int64_t rank) {
            return holders[rank] ? of_holders[rank] : at::Tensor();
          },
          sum_of_present));
    }
    if (sums.size() == 1 && last - first == part) return sums[0];
    sums.push_back(at::zeros({part - (last - first)}, options_));
    return at::cat(sums);
  }

  std::vector<bool> holders_of(size_t row) const {
    std::vector<bool> holders;
    for (const auto& rows : present_) holders.push_back(rows[row]);
    return holders;
  }

  void unpack(int64_t begin, int64_t end, const at::Tensor& bucket) {
    RECORD_USER_SCOPE("unpack gradients");
    for (const Piece& piece : rows_.pieces(begin, end)) {
      at::Tensor& gradient = gradients_[piece.row];
      if (!gradient.defined()) {
        gradient = at::empty(model_.weight(piece.row).sizes(), options_);
      }
      piece.of(gradient).copy_(bucket.narrow(0, piece.at, piece.count));
    }
  }

  const Transformer& model_;
  const PresentRows& present_;
  std::vector<at::Tensor>& gradients_;
  parallel::ProcessGroup& group_;
  at::TensorOptions options_;
  FlatRows rows_;
};

}  // namespace

void sum_gradients(const Transformer& model, const PresentRows& present,
                   std::vector<at::Tensor>& gradients,
                   parallel::ProcessGroup& group, int64_t bucket_bytes) {
  Exchange exchange(model, present, gradients, group);
  const int64_t n = group.size();
  const auto entry = static_cast<int64_t>(c10::elementSize(model.dtype()));
  const int64_t bucket = std::max<int64_t>(1, bucket_bytes / entry / n) * n;
  for (int64_t begin = 0; begin < exchange.entries(); begin += bucket) {
    exchange.sum_bucket(begin, std::min(exchange.entries(), begin + bucket));
  }
}

int64_t gradient_bytes_sent(int64_t entries, int64_t entry_bytes,
                            int64_t processes) {
  const int64_t part = (entries + processes - 1) / processes;
  return 2 * (processes - 1) * part * entry_bytes;
}

}  // namespace annuli::train
