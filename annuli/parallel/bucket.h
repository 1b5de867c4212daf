#pragma once

#include <algorithm>
#include <cstdint>

namespace annuli::parallel {

// What is sent at once of many tensors laid end to end, by all processes
// together.
inline constexpr int64_t kBucketBytes = 32 << 20;

// The part of it that is one process', in entries.
inline int64_t slice_of_bucket(int64_t bucket_bytes, int64_t entry_bytes,
                               int64_t processes) {
  return std::max<int64_t>(1, bucket_bytes / entry_bytes / processes);
}

}  // namespace annuli::parallel
