#include "annuli/train/present_rows.h"

#include <string>

namespace annuli::train {

PresentRows present_rows(const std::vector<size_t>& rows,
                         const std::vector<at::Tensor>& gradients,
                         parallel::ProcessGroup& group) {
  constexpr char kHere = 'x';
  constexpr char kAbsent = '.';
  std::string own;
  for (const size_t row : rows) {
    own += gradients[row].defined() ? kHere : kAbsent;
  }
  PresentRows present;
  for (const std::string& text : group.gather(own)) {
    std::vector<bool>& of_one = present.emplace_back(gradients.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      of_one[rows[i]] = text[i] == kHere;
    }
  }
  return present;
}

}  // namespace annuli::train
