#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/tensor_table.h"

// Which process owns which rows of a model's tensor table, where processes
// share what an optimizer keeps: each tensor belongs to one of them, whole, so
// that its update is that of one process.
//
// A pure function of the table and the number of processes: first the tensors
// outside the layers, then layer by layer, the largest of each first; each goes
// to the process that has the fewest entries so far, of equal ones to the
// lowest. So each layer is divided too, as well as whole tensors allow. No
// process has more than the mean and the largest tensor together.
namespace annuli {

class RowOwners {
 public:
  RowOwners(const TensorTable& table, int64_t processes);

  int64_t processes() const { return std::ssize(rows_); }
  int64_t owner(size_t row) const { return owners_[row]; }
  // Its rows, in the order of the table.
  const std::vector<size_t>& rows_of(int64_t process) const {
    return rows_[static_cast<size_t>(process)];
  }
  int64_t entries_of(int64_t process) const {
    return entries_[static_cast<size_t>(process)];
  }
  int64_t most_entries() const;
  bool owns(int64_t process, size_t row) const {
    return owners_[row] == process;
  }

 private:
  std::vector<int64_t> owners_;            // per row
  std::vector<std::vector<size_t>> rows_;  // per process
  std::vector<int64_t> entries_;           // per process
};

}  // namespace annuli
