#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

// Where the members of a zip archive lie in the file's bytes. Reads what
// PyTorch writes (ZIP64 or not) and nothing cleverer: members must be stored,
// because tensors are mapped straight out of the file.
namespace annuli {

struct ZipMember {
  int64_t offset = 0;  // of the data, from the file's start
  int64_t bytes = 0;
  uint32_t crc32 = 0;
};

// By full name ("archive/data.pkl"). Checks that every member lies within
// `bytes`, that no two share bytes, and that the local headers agree with the
// directory; each fault is a UserError that names `path`. Checksums are left
// to the caller (`crc32_of`): they cost a read of the data.
std::map<std::string, ZipMember> zip_directory(std::span<const std::byte> bytes,
                                               const std::string& path);

uint32_t crc32_of(std::span<const std::byte> bytes);

}  // namespace annuli
