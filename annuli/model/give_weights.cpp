#include "annuli/model/give_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "annuli/model/flat_rows.h"
#include "annuli/model/transformer.h"

namespace annuli {
namespace {

class Giving {
 public:
  Giving(const Transformer& model, const RowOwners& owners,
         const std::vector<size_t>& rows)
      : options_(at::TensorOptions()
                     .dtype(model.weight_dtype())
                     .device(model.device())) {
    std::vector<std::vector<size_t>> of_owner(owners.processes());
    for (const size_t row : rows) {
      if (!is_trained(model.table()[row].part)) continue;
      of_owner[owners.owner(row)].push_back(row);
      // Not the graph's tensor, whose version would change.
      places_[row] = model.weight(row).variable_data();
    }
    for (auto& of_one : of_owner) {
      flat_.emplace_back(model.table(), std::move(of_one));
      entries_ = std::max(entries_, flat_.back().entries());
    }
  }

  void send(parallel::ProcessGroup& group, int64_t bucket_bytes) const {
    RECORD_USER_SCOPE("give weights");
    const at::AutoGradMode without_graph(false);
    const auto entry = static_cast<int64_t>(options_.dtype().itemsize());
    const int64_t bucket =
        parallel::slice_of_bucket(bucket_bytes, entry, group.size());
    for (int64_t begin = 0; begin < entries_; begin += bucket) {
      send(group, begin, begin + bucket);
    }
  }

 private:
  void send(parallel::ProcessGroup& group, int64_t begin, int64_t end) const {
    std::vector<at::Tensor> own;
    for (const Piece& piece : flat_[group.rank()].pieces(begin, end)) {
      own.push_back(place(piece));
    }
    const at::Tensor packed =
        own.empty() ? at::empty({0}, options_) : at::cat(own);
    const std::vector<at::Tensor> come =
        group.exchange(std::vector<at::Tensor>(group.size(), packed));
    for (int64_t rank = 0; rank < group.size(); ++rank) {
      if (rank == group.rank()) continue;
      for (const Piece& piece : flat_[rank].pieces(begin, end)) {
        place(piece).copy_(come[rank].narrow(0, piece.at, piece.count));
      }
    }
  }

  at::Tensor place(const Piece& piece) const {
    return piece.of(places_.at(piece.row));
  }

  at::TensorOptions options_;
  std::unordered_map<size_t, at::Tensor> places_;  // by row
  std::vector<FlatRows> flat_;                     // of each owner
  int64_t entries_ = 0;                            // of the owner with the most
};

}  // namespace

parallel::Begun begin_giving(const Transformer& model, const RowOwners& owners,
                             const std::vector<size_t>& rows,
                             parallel::ProcessGroup& group,
                             int64_t bucket_bytes) {
  const at::AutoGradMode without_graph(false);
  const auto giving = std::make_shared<const Giving>(model, owners, rows);
  return group.begin([giving, bucket_bytes](parallel::ProcessGroup& turn) {
    giving->send(turn, bucket_bytes);
  });
}

}  // namespace annuli
