#pragma once

#include <memory>

#include "annuli/data/text_reader.h"

// What text_reader.h reads from.
namespace annuli::data {

std::unique_ptr<ByteSource> open_plain(const fs::path& path);
std::unique_ptr<ByteSource> unpack_gzip(const fs::path& path);
std::unique_ptr<ByteSource> unpack_zstd(const fs::path& path);

}  // namespace annuli::data
