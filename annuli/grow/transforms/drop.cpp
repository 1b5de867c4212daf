#include "annuli/grow/transforms/drop.h"

#include <ATen/Dispatch.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/row_source.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::grow {
namespace {

// The dropped entries of a matrix, row by row.
struct Region {
  std::vector<int64_t> rows;
  std::vector<int64_t> cols;
  int64_t width;

  template <typename Function>
  void for_each(const Function& function) const {
    for (int64_t row : rows) {
      for (int64_t col : cols) function(row * width + col);
    }
  }
};

std::vector<int64_t> all_of(int64_t size) {
  std::vector<int64_t> indices(size);
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

Region region_of(const at::Tensor& child, const Drop& drop, uint64_t seed) {
  ANNULI_CHECK(child.is_contiguous() && drop.dimension < child.dim(),
               "units of dimension {} are dropped from {}", drop.dimension,
               kernels::words_of(child));
  const bool matrix = child.dim() == 2;
  const int64_t width = child.sizes().back();
  const auto units = dropped_units(drop, child.size(drop.dimension), seed);
  if (drop.dimension == child.dim() - 1) {
    return {all_of(matrix ? child.size(0) : 1), units, width};
  }
  return {units, all_of(width), width};
}

template <typename Stored>
void draw(Stored* data, const Region& region, const CounterRng& rng) {
  const auto count = static_cast<double>(region.rows.size()) *
                     static_cast<double>(region.cols.size());
  double sum = 0;
  region.for_each([&](int64_t i) { sum += static_cast<double>(data[i]); });
  const double mean = sum / count;
  double squares = 0;
  region.for_each([&](int64_t i) {
    const double off = static_cast<double>(data[i]) - mean;
    squares += off * off;
  });
  const double deviation = std::sqrt(squares / count);
  std::vector<float> numbers(region.cols.size());
  uint64_t first = 0;
  for (int64_t row : region.rows) {
    kernels::normal_numbers(rng, first, numbers);
    first += (numbers.size() + 3) / 4 * 4;
    for (size_t i = 0; i < numbers.size(); ++i) {
      data[row * region.width + region.cols[i]] =
          static_cast<Stored>(mean + deviation * numbers[i]);
    }
  }
}

}  // namespace

std::vector<int64_t> dropped_units(const Drop& drop, int64_t size,
                                   uint64_t seed) {
  const int64_t count = std::llround(drop.ratio * static_cast<double>(size));
  const CounterRng rng(seed, drop.stream);
  std::vector<int64_t> units = all_of(size);
  for (int64_t i = 0; i < count; ++i) {
    std::swap(units[i],
              units[i + static_cast<int64_t>(rng.below(i, size - i))]);
  }
  units.resize(count);
  std::ranges::sort(units);
  return units;
}

void drop_units(at::Tensor& child, const Drop& drop, uint64_t seed,
                uint64_t stream) {
  const Region region = region_of(child, drop, seed);
  if (region.rows.empty() || region.cols.empty()) return;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, child.scalar_type(), "drop_units", [&] {
        draw(child.data_ptr<scalar_t>(), region, CounterRng(seed, stream));
      });
}

std::string Drop::in_words() const {
  return fmt::format("{} of the units drawn anew", ratio);
}

RowSourcePtr Drop::on_rows(RowSourcePtr rows, const RowContext& context) const {
  at::Tensor child = whole(*rows, context.line, context.dtype);
  drop_units(child, *this, context.seed, context.line.stream);
  return held_source(child);
}

bool Drop::carries_state() const { return false; }

bool Drop::changes_layer(const TensorRecipe& line) const { return true; }

void Drop::write(const Drop* stated, Json& line) {
  if (stated == nullptr) return;
  line["drop"] = {{"ratio", stated->ratio},
                  {"dimension", stated->dimension},
                  {"stream", stated->stream}};
}

TransformPtr Drop::read(const Json& line) {
  if (!line.contains("drop")) return nullptr;
  const Json& drop = line.at("drop");
  return std::make_shared<Drop>(drop.at("ratio").get<double>(),
                                drop.at("dimension").get<int64_t>(),
                                drop.at("stream").get<uint64_t>());
}

}  // namespace annuli::grow
