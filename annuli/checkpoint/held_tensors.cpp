#include "annuli/checkpoint/held_tensors.h"

#include <utility>

#include "annuli/core/error.h"

namespace annuli {

HeldTensors::HeldTensors(const fs::path& name,
                         const std::vector<NamedTensor>& tensors)
    : MappedTensors(name, NoFile()) {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& named : tensors) {
    TensorEntry entry = entry_of(named);
    entry.offset = kMade;
    entries.push_back(std::move(entry));
    held_.emplace(named.name, named.tensor);
  }
  add_all(std::move(entries));
}

at::Tensor HeldTensors::made(const TensorEntry& entry) const {
  const auto found = held_.find(entry.name);
  ANNULI_CHECK(found != held_.end(), "{} was let go before", entry.name);
  return found->second;
}

}  // namespace annuli
