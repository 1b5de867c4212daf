#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

// The bytes of a token file's header, for its writer and its reader only; the
// layout is described in token_file.h.
namespace annuli::data {

inline constexpr std::string_view kTokenFileMagic = "ANNULITK";
inline constexpr uint32_t kTokenFileVersion = 1;

inline constexpr size_t kMostBorderIds = 20;

struct TokenFileHeader {
  char magic[8] = {};
  uint32_t version = 0;
  uint32_t token_bytes = 0;
  uint64_t vocab_size = 0;
  uint64_t token_count = 0;
  uint64_t document_count = 0;
  char tokenizer_hash[64] = {};
  char inputs_hash[64] = {};
  uint8_t records_borders = 0;  // 1: the rest of this line and the next count
  uint8_t begin_count = 0;
  uint8_t end_count = 0;
  uint8_t zero = 0;
  int32_t border_ids[kMostBorderIds] = {};  // begin, then end
  char zeros[4] = {};
};
static_assert(sizeof(TokenFileHeader) == 256);
static_assert(std::endian::native == std::endian::little,
              "token files are written and mapped as they lie in memory");

// Ids are stored in the smaller width that holds the whole vocabulary.
inline uint32_t token_width(uint64_t vocab_size) {
  return vocab_size <= 65536 ? 2 : 4;
}

}  // namespace annuli::data
