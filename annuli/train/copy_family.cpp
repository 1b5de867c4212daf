#include "annuli/train/copy_family.h"

#include <algorithm>
#include <map>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

constexpr int64_t kFewestRows = 2;

// The parent's entry that each of a child dimension's holds; -1: none.
std::vector<int64_t> parent_entries(const grow::DimensionRecipe& dimension) {
  std::vector<int64_t> entries;
  for (const grow::Slice& slice : dimension.slices) {
    for (int64_t i = 0; i < slice.length; ++i) {
      entries.push_back(slice.is_new() ? -1 : slice.start + i);
    }
  }
  return entries;
}

}  // namespace

int64_t row_stride(int64_t rows, int64_t all_entries, int64_t entries) {
  const int64_t most = std::max<int64_t>(1, rows / kFewestRows);
  const int64_t stride =
      std::clamp<int64_t>((all_entries + entries - 1) / entries, 1, most);
  return stride % 2 == 1 ? stride : stride - 1;
}

CopyFamily::CopyFamily(const std::vector<const grow::TensorRecipe*>& tensors,
                       int64_t entries) {
  std::vector<std::vector<int64_t>> parent_rows;
  int64_t largest = 0;
  int64_t last_row = 0;
  for (const grow::TensorRecipe* tensor : tensors) {
    ANNULI_CHECK(tensor->dimensions.size() == 2, "{} is no matrix",
                 tensor->child);
    Member& member = members_.emplace_back();
    member.scale = tensor->scale;
    member.width = tensor->shape[1];
    const auto columns = parent_entries(tensor->dimensions[1]);
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] < 0) continue;
      member.columns.push_back(static_cast<int64_t>(i));
      member.parent_columns.push_back(columns[i]);
      columns_ = std::max(columns_, columns[i] + 1);
    }
    parent_rows.push_back(parent_entries(tensor->dimensions[0]));
    last_row =
        std::max(last_row, *std::ranges::max_element(parent_rows.back()));
    largest = std::max(largest, tensor->shape[0] * tensor->shape[1]);
  }
  choose_rows(parent_rows, row_stride(last_row + 1, largest, entries));
  weigh();
}

void CopyFamily::choose_rows(
    const std::vector<std::vector<int64_t>>& parent_rows, int64_t stride) {
  std::map<int64_t, int64_t> slots;  // by parent row
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    const std::vector<int64_t>& parents = parent_rows[i];
    const auto choose = [&](int64_t row) {
      member.rows.push_back(row);
      const int64_t parent = parents[row];
      const auto count = static_cast<int64_t>(slots.size());
      member.slots.push_back(
          parent < 0 ? -1 : slots.try_emplace(parent, count).first->second);
    };
    for (int64_t row = 0; row < std::ssize(parents); ++row) {
      const int64_t place = parents[row] < 0 ? row : parents[row];
      if (place % stride == 0) choose(row);
    }
    if (member.rows.empty()) choose(0);
  }
  slots_ = static_cast<int64_t>(slots.size());
}

// Calls visit(entry of the child's chosen rows, entry of the parent's).
template <typename Visit>
void CopyFamily::visit(const Member& member, const Visit& visit) const {
  for (size_t i = 0; i < member.rows.size(); ++i) {
    if (member.slots[i] < 0) continue;
    const int64_t of_child = static_cast<int64_t>(i) * member.width;
    const int64_t of_parent = member.slots[i] * columns_;
    for (size_t c = 0; c < member.columns.size(); ++c) {
      visit(of_child + member.columns[c], of_parent + member.parent_columns[c]);
    }
  }
}

void CopyFamily::weigh() {
  weights_.assign(slots_ * columns_, 0);
  std::vector<int64_t> copies(weights_.size());
  for (const Member& member : members_) {
    const double weight = member.scale * member.scale;
    visit(member, [&](int64_t, int64_t entry) {
      weights_[entry] += weight;
      has_copies_ = has_copies_ || ++copies[entry] > 1;
    });
  }
}

CopyShare CopyFamily::share(const std::vector<const double*>& values) const {
  std::vector<double> shared(weights_.size());
  for (size_t i = 0; i < members_.size(); ++i) {
    visit(members_[i], [&](int64_t of_child, int64_t entry) {
      shared[entry] += members_[i].scale * values[i][of_child];
    });
  }
  for (size_t entry = 0; entry < shared.size(); ++entry) {
    if (weights_[entry] > 0) shared[entry] /= weights_[entry];
  }
  CopyShare share;
  for (size_t i = 0; i < members_.size(); ++i) {
    visit(members_[i], [&](int64_t of_child, int64_t entry) {
      const double value = values[i][of_child];
      const double off = value - members_[i].scale * shared[entry];
      share.total += value * value;
      share.apart += off * off;
    });
  }
  return share;
}

}  // namespace annuli::train
