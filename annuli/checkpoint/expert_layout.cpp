#include "annuli/checkpoint/expert_layout.h"

#include <fmt/core.h>

#include <set>

#include "annuli/config/family.h"

namespace annuli {
namespace {

using Shape = std::vector<int64_t>;

class Locator {
 public:
  Locator(const ModelConfig& config, const FindEntry& find)
      : config_(config), names_(family_of(config).names), find_(find) {}

  StoredTable locate(const TensorTable& table) {
    for (const TensorSpec& spec : table) {
      result_.pieces.push_back(locate_row(spec));
    }
    return std::move(result_);
  }

 private:
  StoredPiece locate_row(const TensorSpec& spec) {
    if (const TensorEntry* entry = find_(spec.name)) return whole(spec, *entry);
    if (spec.part == Part::kRouter) {
      const std::string name = in_fused(spec, "gate.weight");
      if (const TensorEntry* entry = find_(name)) return whole(spec, *entry);
    }
    const bool matrix = spec.part == Part::kGate || spec.part == Part::kUp ||
                        spec.part == Part::kDown;
    if (matrix && spec.expert >= 0 && config_.gated) {
      const bool down = spec.part == Part::kDown;
      const std::string name =
          in_fused(spec, down ? "experts.down_proj" : "experts.gate_up_proj");
      if (const TensorEntry* entry = find_(name)) return piece(spec, *entry);
    }
    complain("tensor '{}' is missing, expected {}", spec.name,
             to_string(spec.shape()));
    return {};
  }

  std::string in_fused(const TensorSpec& spec, const char* what) const {
    return fmt::format("{}.{}.mlp.{}", names_.layers, spec.layer, what);
  }

  StoredPiece whole(const TensorSpec& spec, const TensorEntry& entry) {
    if (entry.shape != spec.shape()) {
      complain("tensor '{}' is {}, expected {}", entry.name,
               to_string(entry.shape), to_string(spec.shape()));
    }
    return {.name = entry.name};
  }

  StoredPiece piece(const TensorSpec& spec, const TensorEntry& entry) {
    const int64_t D = config_.hidden_size;
    const int64_t F = config_.intermediate_size;
    const bool down = spec.part == Part::kDown;
    const int64_t rows = down ? D : 2 * F;
    const int64_t columns = down ? F : D;
    const Shape fused = {config_.num_experts, rows, columns};
    const Shape turned = {config_.num_experts, columns, rows};
    StoredPiece piece{.name = entry.name, .expert = spec.expert};
    piece.rows = down ? D : F;
    piece.first = spec.part == Part::kUp ? F : 0;
    piece.turned = is_turned(spec, entry, fused, turned);
    return piece;
  }

  // A down_proj with D = F fits both layouts; its gate_up_proj then does not,
  // and decides.
  bool is_turned(const TensorSpec& spec, const TensorEntry& entry,
                 const Shape& fused, const Shape& turned) {
    const bool fits = entry.shape == fused || entry.shape == turned;
    if (fits && fused != turned) return entry.shape == turned;
    if (fits && spec.part == Part::kDown) {
      const std::string name = in_fused(spec, "experts.gate_up_proj");
      const TensorEntry* other = find_(name);
      if (other != nullptr && other->shape.size() == 3) {
        return other->shape[1] == config_.hidden_size;
      }
    }
    if (!reported_.insert(entry.name).second) return false;
    if (fits) {
      complain(
          "tensor '{}' is {}, which both orders of the experts' dimensions "
          "fit; save the experts apart",
          entry.name, to_string(entry.shape));
    } else {
      complain("tensor '{}' is {}, expected {} or {}", entry.name,
               to_string(entry.shape), to_string(fused), to_string(turned));
    }
    return false;
  }

  template <typename... Args>
  void complain(fmt::format_string<Args...> format, Args&&... args) {
    result_.faults.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  const ModelConfig& config_;
  const TensorNames& names_;
  const FindEntry& find_;
  StoredTable result_;
  std::set<std::string> reported_;  // a fused tensor has many rows
};

}  // namespace

at::Tensor StoredPiece::of(const at::Tensor& stored) const {
  if (expert < 0) return stored;
  const at::Tensor matrix = stored.select(0, expert);
  return (turned ? matrix.t() : matrix).narrow(0, first, rows);
}

StoredTable locate(const ModelConfig& config, const TensorTable& table,
                   const FindEntry& find) {
  return Locator(config, find).locate(table);
}

}  // namespace annuli
