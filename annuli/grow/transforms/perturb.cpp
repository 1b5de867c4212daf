#include "annuli/grow/transforms/perturb.h"

#include <ATen/Dispatch.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/matrix_group.h"
#include "annuli/grow/row_source.h"
#include "annuli/kernels/parallel.h"

namespace annuli::grow {
namespace {

// Noise of a hundredth costs thousandths of a nat; what costs more than this is
// damage, to be asked for by name.
constexpr double kLossBudget = 0.1;
constexpr int64_t kEntries = int64_t{1} << 20;  // of a piece

template <typename Stored>
class PerturbedRows : public RowSource {
 public:
  PerturbedRows(RowSourcePtr rows, const RowContext& context,
                const AddedNoise& noise)
      : rows_(std::move(rows)),
        columns_(context.line.shape.back()),
        seed_(context.seed),
        noise_(noise) {
    const int64_t count =
        context.line.shape.size() == 2 ? context.line.shape[0] : 1;
    deviation_ = noise.relative_std * rms(count);
  }

  void make(int64_t begin, int64_t end, void* target) const override {
    rows_->make(begin, end, target);
    auto* out = static_cast<Stored*>(target);
    const int64_t grain = std::max<int64_t>(1, kEntries / 64 / columns_);
    kernels::parallel_blocks(end - begin, grain, [&](int64_t a, int64_t b) {
      const std::vector<float> z =
          noise_.numbers(seed_, begin + a, b - a, columns_);
      for (int64_t i = 0; i < (b - a) * columns_; ++i) {
        Stored& entry = out[a * columns_ + i];
        entry = static_cast<Stored>(static_cast<double>(entry) +
                                    deviation_ * static_cast<double>(z[i]));
      }
    });
  }

 private:
  // Row by row, in a fixed order.
  double rms(int64_t count) const {
    const int64_t step = std::max<int64_t>(1, kEntries / columns_);
    std::vector<Stored> piece(std::min(step, count) * columns_);
    double sum = 0;
    for (int64_t row = 0; row < count; row += step) {
      const int64_t last = std::min(count, row + step);
      rows_->make(row, last, piece.data());
      for (int64_t i = 0; i < (last - row) * columns_; ++i) {
        const auto entry = static_cast<double>(piece[i]);
        sum += entry * entry;
      }
    }
    return std::sqrt(sum / static_cast<double>(count * columns_));
  }

  RowSourcePtr rows_;
  int64_t columns_;
  uint64_t seed_;
  AddedNoise noise_;
  double deviation_ = 0;
};

}  // namespace

std::string Perturb::in_words() const {
  return fmt::format("noise of {} of its size", noise.relative_std);
}

RowSourcePtr Perturb::on_rows(RowSourcePtr rows,
                              const RowContext& context) const {
  RowSourcePtr perturbed;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "perturb", [&] {
        perturbed = std::make_unique<PerturbedRows<scalar_t>>(std::move(rows),
                                                              context, noise);
      });
  return perturbed;
}

TransformPtr Perturb::on_zeros(const TransformPtr& self) const {
  return nullptr;
}

void Perturb::check_after(const TensorRecipe& first) const {
  if (first.is_identity()) return;
  user_error(
      "chaining perturb: found {}, which an earlier step cuts, copies or "
      "changes; expected perturb in front of that step, or as a growth of its "
      "own",
      first.child);
}

bool Perturb::changes_layer(const TensorRecipe& line) const { return true; }

const AddedNoise* Perturb::added() const { return &noise; }

void Perturb::write(const Perturb* stated, Json& line) {
  if (stated == nullptr) return;
  line["perturb"] = {{"relative_std", stated->noise.relative_std},
                     {"stream", stated->noise.stream}};
}

TransformPtr Perturb::read(const Json& line) {
  if (!line.contains("perturb")) return nullptr;
  const Json& perturb = line.at("perturb");
  return std::make_shared<Perturb>(perturb.at("relative_std").get<double>(),
                                   perturb.at("stream").get<uint64_t>());
}

GrowthRule perturb_rule(const PerturbPlan& options, const ModelConfig& parent,
                        const ModelConfig& child) {
  GrowthRule rule{.exact = false, .loss_budget = kLossBudget};
  rule.axes.transforms.push_back(
      [options](const TensorSpec& spec, const TensorRecipe&) -> TransformPtr {
        if (!is_of_groups(spec, options.tensors)) return nullptr;
        return std::make_shared<Perturb>(
            options.relative_std, stream_id("grow/perturb/" + spec.name));
      });
  return rule;
}

}  // namespace annuli::grow
