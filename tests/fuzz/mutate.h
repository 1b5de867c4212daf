#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace annuli::fuzz {

// The `number`-th mutation of the seeds, always the same one: up to four of
// bits flipped, bytes set, pieces cut, doubled or moved, numbers replaced by
// extreme ones, the front of one seed before the back of another.
std::string mutation(const std::vector<std::string>& seeds, uint64_t number);

}  // namespace annuli::fuzz
