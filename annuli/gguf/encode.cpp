#include "annuli/gguf/encode.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "annuli/core/error.h"

namespace annuli::gguf {
namespace {

constexpr int64_t kBlock = 32;

std::string bytes_as(const at::Tensor& tensor, at::ScalarType type) {
  const at::Tensor stored = tensor.to(type).contiguous();
  return {static_cast<const char*>(stored.data_ptr()),
          static_cast<size_t>(stored.nbytes())};
}

void append_block(const float* x, std::string& out) {
  float largest = 0;
  for (int64_t i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::abs(x[i]));
  }
  const float scale = largest / 127;
  const float inverse = scale != 0 ? 1 / scale : 0;
  const c10::Half stored(scale);
  out.append(reinterpret_cast<const char*>(&stored), sizeof(stored));
  for (int64_t i = 0; i < kBlock; ++i) {
    out.push_back(
        static_cast<char>(static_cast<int8_t>(std::round(x[i] * inverse))));
  }
}

std::string q8_0(const at::Tensor& tensor) {
  ANNULI_CHECK(tensor.size(-1) % kBlock == 0, "a row of {} in q8_0",
               tensor.size(-1));
  const at::Tensor numbers = tensor.to(at::kFloat).contiguous();
  const float* x = numbers.const_data_ptr<float>();
  std::string out;
  out.reserve(static_cast<size_t>(bytes_of(Type::kQ8_0, numbers.numel())));
  for (int64_t i = 0; i < numbers.numel(); i += kBlock) {
    append_block(x + i, out);
  }
  return out;
}

}  // namespace

std::string encode(const at::Tensor& tensor, Type type) {
  switch (type) {
    case Type::kF32:
      return bytes_as(tensor, at::kFloat);
    case Type::kF16:
      return bytes_as(tensor, at::kHalf);
    case Type::kBf16:
      return bytes_as(tensor, at::kBFloat16);
    case Type::kQ8_0:
      return q8_0(tensor);
    default:
      break;
  }
  ANNULI_CHECK(false, "no tensor is written in {}", traits_of(type).name);
}

}  // namespace annuli::gguf
