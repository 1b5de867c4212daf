#include "annuli/parallel/agreement.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "annuli/core/error.h"

namespace annuli::parallel {

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"barrier", "gather", "all_gather",
                                    "all_to_all", "exchange"};
  return kNames[static_cast<size_t>(kind)];
}

bool Agreement::same_call(const Agreement& other) const {
  return number == other.number && kind == other.kind && type == other.type &&
         dims == other.dims && shape == other.shape;
}

std::string Agreement::text() const {
  const auto what = static_cast<Kind>(kind);
  const std::string call =
      fmt::format("operation {}, {}", number, name_of(what));
  if (what == Kind::kBarrier || what == Kind::kGather) return call;
  const char* of_type = c10::toString(static_cast<c10::ScalarType>(type));
  if (what == Kind::kExchange) return fmt::format("{} of {}", call, of_type);
  return fmt::format("{} of {} [{}]", call, of_type,
                     fmt::join(shape.begin(), shape.begin() + dims, ", "));
}

Agreement agreement(Kind kind, const at::Tensor& tensor) {
  ANNULI_CHECK(tensor.dim() <= int64_t(Agreement::kMaxDims), "{} dimensions",
               tensor.dim());
  Agreement call = {.kind = int64_t(kind),
                    .type = static_cast<int64_t>(tensor.scalar_type()),
                    .dims = tensor.dim()};
  std::ranges::copy(tensor.sizes(), call.shape.begin());
  return call;
}

}  // namespace annuli::parallel
