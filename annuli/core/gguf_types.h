#pragma once

#include <cstdint>

// The numbers that a GGUF file is made of, as ggml counts them: what the reader
// (gguf_file.h) and the writer (gguf_writer.h) share.
namespace annuli::gguf {

inline constexpr uint32_t kVersion = 3;
inline constexpr int64_t kAlignment = 32;  // of data, where no key says else

// Of tensors. Those of four to eight bits are blocks of codes with scales.
enum class Type : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ8_0 = 8,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBf16 = 30,
};

struct TypeTraits {
  Type type;
  const char* name;  // "q4_K"
  int64_t block;     // numbers that are stored together
  int64_t bytes;     // of a block; 0: a type that we do not read
};

// Null for a number that ggml does not know.
const TypeTraits* find_type(uint32_t number);
const TypeTraits& traits_of(Type type);

inline bool is_quantised(Type type) { return traits_of(type).block > 1; }

// Bytes of `count` numbers in a row, a multiple of the type's block.
int64_t bytes_of(Type type, int64_t count);

// Of metadata.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

}  // namespace annuli::gguf
