#include "annuli/grow/transforms/fresh.h"

#include <ATen/Dispatch.h>
#include <fmt/core.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/grow/row_source.h"
#include "annuli/kernels/parallel.h"

namespace annuli::grow {
namespace {

constexpr int64_t kGrain = 16384;  // entries per parallel task

template <typename Stored>
class FreshRows : public RowSource {
 public:
  FreshRows(const RowContext& context, const Fresh& fresh)
      : columns_(context.line.shape.back()),
        is_normal_(fresh.values == FirstValues::kNormal),
        std_(fresh.std),
        rng_(context.seed, context.line.stream) {}

  void make(int64_t begin, int64_t end, void* target) const override {
    auto* out = static_cast<Stored*>(target);
    if (!is_normal_) {
      std::fill_n(out, (end - begin) * columns_, static_cast<Stored>(1));
      return;
    }
    const int64_t grain = std::max<int64_t>(1, kGrain / columns_);
    kernels::parallel_blocks(end - begin, grain, [&](int64_t a, int64_t b) {
      const std::vector<float> z =
          normal_rows(rng_, begin + a, b - a, columns_);
      for (int64_t i = 0; i < (b - a) * columns_; ++i) {
        out[a * columns_ + i] =
            static_cast<Stored>(std_ * static_cast<double>(z[i]));
      }
    });
  }

 private:
  int64_t columns_;
  bool is_normal_;
  double std_;
  CounterRng rng_;
};

}  // namespace

std::string Fresh::in_words() const {
  return values == FirstValues::kOne
             ? "ones"
             : fmt::format("random, standard deviation {}", std);
}

RowSourcePtr Fresh::on_rows(RowSourcePtr rows,
                            const RowContext& context) const {
  if (context.line.source != Source::kFresh) return rows;
  RowSourcePtr fresh;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, context.dtype, "fresh",
      [&] { fresh = std::make_unique<FreshRows<scalar_t>>(context, *this); });
  return fresh;
}

bool Fresh::carries_state() const { return false; }

// A layer that is new is compared with none.
bool Fresh::changes_layer(const TensorRecipe& line) const { return false; }

void Fresh::write(const Fresh* stated, Json& line) {
  if (stated == nullptr) return;
  const bool one = stated->values == FirstValues::kOne;
  line["fresh"] = {{"values", one ? "one" : "normal"}, {"std", stated->std}};
}

TransformPtr Fresh::read(const Json& line) {
  if (!line.contains("fresh")) return nullptr;
  const Json& fresh = line.at("fresh");
  const auto word = fresh.at("values").get<std::string>();
  if (word == "one") return std::make_shared<Fresh>(FirstValues::kOne);
  if (word == "normal") {
    return std::make_shared<Fresh>(FirstValues::kNormal,
                                   fresh.at("std").get<double>());
  }
  user_error("reading a recipe: fresh values '{}', expected one or normal",
             word);
}

}  // namespace annuli::grow
