#include "annuli/grow/transforms/noise.h"

#include <ATen/Dispatch.h>
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "annuli/core/rng.h"
#include "annuli/grow/cancelling_noise.h"
#include "annuli/grow/copied_rows.h"

namespace annuli::grow {
namespace {

// The plain copies, and over those that form pairs the noisy ones.
template <typename Stored>
class NoisyRows : public RowSource {
 public:
  NoisyRows(RowSourcePtr rows, const RowContext& context, const Noise& noise)
      : rows_(std::move(rows)) {
    const LineLayout layout = layout_of(context);
    const std::vector<at::Tensor> parents = parent_matrices(context);
    const auto pairs = noise_pairs(layout.columns.slices);
    child_columns_ = layout.child_columns;
    uint64_t number = 0;
    for (size_t i = 0; i < layout.rows.slices.size(); ++i) {
      const Slice rows_at = layout.rows.slices[i];
      if (rows_at.is_new()) continue;
      for (const auto& [first, second] : pairs) {
        const Slice columns = layout.columns.slices[first];
        pairs_.push_back(
            {layout.rows.starts[i], rows_at.length,
             layout.columns.starts[first], layout.columns.starts[second],
             NoisyBlock<Stored>(ParentBlock(parents, rows_at, columns),
                                context.line.scale, noise.snr_db,
                                CounterRng(context.seed, noise.stream), number,
                                context.line.coded)});
        number += (rows_at.length * columns.length + 3) / 4 * 4;
      }
    }
  }

  void make(int64_t begin, int64_t end, void* target) const override {
    rows_->make(begin, end, target);
    for (const Pair& pair : pairs_) {
      const int64_t first = std::max(begin, pair.child_row);
      const int64_t last = std::min(end, pair.child_row + pair.rows);
      if (first >= last) continue;
      Stored* out =
          static_cast<Stored*>(target) + (first - begin) * child_columns_;
      pair.block.write(first - pair.child_row, last - pair.child_row,
                       out + pair.first_column, out + pair.second_column,
                       child_columns_);
    }
  }

 private:
  struct Pair {
    int64_t child_row;
    int64_t rows;
    int64_t first_column;
    int64_t second_column;
    NoisyBlock<Stored> block;
  };

  RowSourcePtr rows_;
  int64_t child_columns_ = 0;
  std::vector<Pair> pairs_;
};

}  // namespace

std::string Noise::in_words() const {
  return fmt::format("noise {} dB", snr_db);
}

RowSourcePtr Noise::on_rows(RowSourcePtr rows,
                            const RowContext& context) const {
  RowSourcePtr noisy;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "noise", [&] {
        noisy = std::make_unique<NoisyRows<scalar_t>>(std::move(rows), context,
                                                      *this);
      });
  return noisy;
}

TransformPtr Noise::on_zeros(const TransformPtr& self) const { return nullptr; }

bool Noise::changes_layer(const TensorRecipe& line) const { return false; }

void Noise::write(const Noise* stated, Json& line) {
  if (stated == nullptr) return;
  line["noise"] = {{"snr_db", stated->snr_db}, {"stream", stated->stream}};
}

TransformPtr Noise::read(const Json& line) {
  if (!line.contains("noise")) return nullptr;
  const Json& noise = line.at("noise");
  return std::make_shared<Noise>(noise.at("snr_db").get<double>(),
                                 noise.at("stream").get<uint64_t>());
}

}  // namespace annuli::grow
