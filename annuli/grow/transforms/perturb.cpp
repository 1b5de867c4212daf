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
// Half of every matrix costs about one nat of a trained model.
constexpr double kShrinkBudget = 2;
constexpr int64_t kEntries = int64_t{1} << 20;  // of a piece

template <typename Stored>
class PerturbedRows : public RowSource {
 public:
  PerturbedRows(RowSourcePtr rows, const RowContext& context,
                const Perturb& perturb)
      : rows_(std::move(rows)),
        columns_(context.line.shape.back()),
        seed_(context.seed),
        shrink_(perturb.shrink),
        noise_(perturb.noise) {
    const int64_t count =
        context.line.shape.size() == 2 ? context.line.shape[0] : 1;
    deviation_ = noise_.relative_std * rms(count);
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
        entry = static_cast<Stored>(shrink_ * static_cast<double>(entry) +
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
  double shrink_;
  AddedNoise noise_;
  double deviation_ = 0;
};

// From the first entry on without a gap, each as often as the others (which
// copies_of has checked).
bool is_without_gap(std::vector<Slice> slices) {
  std::ranges::sort(slices, {}, &Slice::start);
  int64_t reached = 0;
  for (const Slice& slice : slices) {
    if (slice.start > reached) return false;
    reached = std::max(reached, slice.start + slice.length);
  }
  return true;
}

// Of such a tensor the root mean square is the parent's, times the scale.
bool is_of_whole_copies(const TensorRecipe& line) {
  return line.source == Source::kParent && line.models.size() == 1 &&
         line.transforms.empty() && !line.has_new_entries() &&
         std::ranges::all_of(line.dimensions, [](const DimensionRecipe& d) {
           return is_without_gap(d.slices);
         });
}

}  // namespace

std::string Perturb::in_words() const {
  const std::string added =
      fmt::format("noise of {} of its size", noise.relative_std);
  if (shrink == 1) return added;
  const std::string factor = fmt::format("times {}", shrink);
  return noise.relative_std == 0 ? factor : factor + ", " + added;
}

RowSourcePtr Perturb::on_rows(RowSourcePtr rows,
                              const RowContext& context) const {
  RowSourcePtr perturbed;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "perturb", [&] {
        perturbed = std::make_unique<PerturbedRows<scalar_t>>(std::move(rows),
                                                              context, *this);
      });
  return perturbed;
}

TransformPtr Perturb::on_zeros(const TransformPtr& self) const {
  return nullptr;
}

void Perturb::check_after(const TensorRecipe& first) const {
  if (first.is_identity() || is_of_whole_copies(first)) return;
  const char* name = shrink == 1 ? "perturb" : "shrink_perturb";
  user_error(
      "chaining {}: found {}, which an earlier step cuts, pads, draws or gives "
      "noise; expected {} in front of that step, or as a growth of its own",
      name, first.child, name);
}

bool Perturb::changes_layer(const TensorRecipe& line) const { return true; }

const AddedNoise* Perturb::added() const { return &noise; }

double Perturb::factor() const { return shrink; }

void Perturb::write(const Perturb* stated, Json& line) {
  if (stated == nullptr) return;
  line["perturb"] = {{"relative_std", stated->noise.relative_std},
                     {"stream", stated->noise.stream}};
  if (stated->shrink != 1) line["perturb"]["shrink"] = stated->shrink;
}

TransformPtr Perturb::read(const Json& line) {
  if (!line.contains("perturb")) return nullptr;
  const Json& perturb = line.at("perturb");
  return std::make_shared<Perturb>(perturb.at("relative_std").get<double>(),
                                   perturb.at("stream").get<uint64_t>(),
                                   perturb.value("shrink", 1.0));
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

GrowthRule shrink_perturb_rule(const ShrinkPerturbPlan& options,
                               const ModelConfig& parent,
                               const ModelConfig& child) {
  GrowthRule rule{.exact = false, .loss_budget = kShrinkBudget};
  rule.axes.carry_state = options.shrink == 1;
  rule.axes.transforms.push_back(
      [options](const TensorSpec& spec, const TensorRecipe&) -> TransformPtr {
        if (!spec.is_matrix()) return nullptr;
        return std::make_shared<Perturb>(options.relative_std,
                                         stream_id("grow/perturb/" + spec.name),
                                         options.shrink);
      });
  return rule;
}

}  // namespace annuli::grow
