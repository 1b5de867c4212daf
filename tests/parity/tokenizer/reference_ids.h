#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/tokenizer/tokenizer.h"

// What the Python scripts wrote, and our side of the comparison.
namespace annuli {

// A file of raw little-endian int32.
inline std::vector<int32_t> read_ids(const fs::path& path) {
  const std::string bytes = read_file(path);
  std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
  std::copy_n(bytes.data(), ids.size() * sizeof(int32_t),
              reinterpret_cast<char*>(ids.data()));
  return ids;
}

// The text of ids that come one at a time.
inline std::string streamed(const Tokenizer& tokenizer,
                            const std::vector<int32_t>& ids) {
  const auto stream = tokenizer.stream();
  std::string text;
  for (const int32_t id : ids) text += stream->add(id);
  return text + stream->finish();
}

}  // namespace annuli
