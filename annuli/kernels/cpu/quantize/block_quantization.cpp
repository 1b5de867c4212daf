#include "annuli/kernels/cpu/quantize/block_quantization.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/kernels/cpu/quantize/code_table.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli::kernels {
namespace {

constexpr int kDecades = 7;
constexpr int64_t kBlocksPerTask = 64;

// Dynamic quantisation: decade i, 0.1 to 1 times 10^(i - 6), is cut into equal
// parts, 2^i of them for signed codes and 2^(i + 1) for unsigned ones, and each
// is represented by its middle; besides 0 and 1.
std::vector<float> magnitudes(Codes kind) {
  std::vector<float> values = {0};
  for (int i = 0; i < kDecades; ++i) {
    const int parts = 1 << (kind == Codes::kSigned ? i : i + 1);
    for (int part = 0; part < parts; ++part) {
      const double middle = 0.1 + 0.9 * (part + 0.5) / parts;
      values.push_back(
          static_cast<float>(middle * std::pow(10.0, i - (kDecades - 1))));
    }
  }
  values.push_back(1);
  return values;
}

ANNULI_VECTOR_CLONES void decode(const CodeTable& table, const uint8_t* codes,
                                 float scale, int64_t size, float* values) {
  decode_block(table, codes, scale, size, values);
}

ANNULI_VECTOR_CLONES float encode(const CodeTable& table, const float* values,
                                  int64_t size, uint8_t* codes) {
  return table.is_signed ? encode_block<true>(table, values, size, codes)
                         : encode_block<false>(table, values, size, codes);
}

// f(block, begin, size) for each block, in parallel.
template <typename F>
void for_each_block(int64_t entries, const F& f) {
  parallel_blocks(quantized_blocks(entries), kBlocksPerTask,
                  [&](int64_t first, int64_t last) {
                    for (int64_t block = first; block < last; ++block) {
                      const int64_t begin = block * kQuantizedBlock;
                      f(block, begin,
                        std::min(kQuantizedBlock, entries - begin));
                    }
                  });
}

Quantized empty_codes(const at::Tensor& values) {
  return {owned_empty(values.sizes(), at::kByte),
          owned_empty({quantized_blocks(values.numel())}, at::kFloat)};
}

}  // namespace

CodeTable::CodeTable(Codes kind) : is_signed(kind == Codes::kSigned) {
  const std::vector<float> known = magnitudes(kind);
  for (size_t i = 0; i < known.size(); ++i) {
    if (!is_signed) {
      values[i] = known[i];
      continue;
    }
    values[127 + i] = known[i];
    if (i > 0 && i < 128) values[127 - i] = -known[i];
  }
  std::vector<float> borders;
  for (size_t i = 0; i + 1 < known.size(); ++i) {
    const double middle = (double{known[i]} + known[i + 1]) / 2;
    borders.push_back(static_cast<float>(middle));
    // Down, so that comparing with it is comparing with the middle.
    if (borders[i] > middle) borders[i] = std::nextafter(borders[i], 0.0F);
  }
  for (size_t cell = 0; cell < kCells; ++cell) {
    const auto high = static_cast<uint32_t>(kLowestCell + cell);
    const auto start = std::bit_cast<float>(high << 16);
    const auto border = std::ranges::lower_bound(borders, start);
    const auto index = static_cast<uint32_t>(border - borders.begin());
    const uint32_t bits =
        border == borders.end() ? 0 : std::bit_cast<uint32_t>(*border);
    cells[cell] = index | (bits >> 16 == high ? bits & 0xffff : 0xffff) << 8;
  }
}

const CodeTable& code_table(Codes kind) {
  static const CodeTable with_sign(Codes::kSigned);
  static const CodeTable without(Codes::kUnsigned);
  return kind == Codes::kSigned ? with_sign : without;
}

const std::array<float, 256>& code_values(Codes kind) {
  return code_table(kind).values;
}

int64_t quantized_blocks(int64_t entries) {
  return (entries + kQuantizedBlock - 1) / kQuantizedBlock;
}

Quantized cpu::quantize(const at::Tensor& values, Codes kind) {
  Quantized result = empty_codes(values);
  const CodeTable& table = code_table(kind);
  const float* from = values.const_data_ptr<float>();
  auto* codes = result.codes.mutable_data_ptr<uint8_t>();
  auto* scales = result.scales.mutable_data_ptr<float>();
  for_each_block(
      values.numel(), [&](int64_t block, int64_t begin, int64_t size) {
        scales[block] = encode(table, from + begin, size, codes + begin);
      });
  return result;
}

at::Tensor cpu::dequantize(const at::Tensor& codes, const at::Tensor& scales,
                           Codes kind) {
  at::Tensor values = owned_empty(codes.sizes(), at::kFloat);
  const CodeTable& table = code_table(kind);
  const auto* from = codes.const_data_ptr<uint8_t>();
  const auto* scale = scales.const_data_ptr<float>();
  auto* to = values.mutable_data_ptr<float>();
  for_each_block(codes.numel(),
                 [&](int64_t block, int64_t begin, int64_t size) {
                   decode(table, from + begin, scale[block], size, to + begin);
                 });
  return values;
}

}  // namespace annuli::kernels
