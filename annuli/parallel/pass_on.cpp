#include "annuli/parallel/pass_on.h"

#include <ATen/ops/empty.h>

#include <vector>

namespace annuli::parallel {

at::Tensor pass_on(ProcessGroup& group, const at::Tensor& bytes, int64_t from,
                   int64_t to) {
  std::vector<at::Tensor> out(group.size(), at::empty({0}, at::kByte));
  if (group.rank() == from) out[to] = bytes;
  const std::vector<at::Tensor> come = group.exchange(out);
  return group.rank() == to ? come[from] : at::Tensor();
}

}  // namespace annuli::parallel
