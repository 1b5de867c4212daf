#include "annuli/parallel/agree.h"

#include <algorithm>
#include <vector>

#include "annuli/core/error.h"

namespace annuli::parallel {

std::string of_first(ProcessGroup& group, std::string_view text) {
  return group.gather(text).front();
}

int64_t highest(ProcessGroup& group, int64_t number) {
  int64_t highest = number;
  for (const std::string& other : group.gather(std::to_string(number))) {
    highest = std::max<int64_t>(highest, std::stoll(other));
  }
  return highest;
}

void require_same(ProcessGroup& group, std::string_view doing,
                  std::string_view text, std::string_view advice) {
  const std::vector<std::string> texts = group.gather(text);
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    throw VerdictError(fmt::format(
        "{}: found {} on rank {} and {} on rank 0, expected the same; {}",
        doing, texts[rank], rank, texts[0], advice));
  }
}

}  // namespace annuli::parallel
