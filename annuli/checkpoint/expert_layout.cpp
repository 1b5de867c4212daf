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
    complain("tensor '{}' is missing, expected {}{}", spec.name,
             to_string(spec.shape()),
             spec.part == Part::kHead
                 ? "; set 'tie_word_embeddings' to true in config.json if the "
                   "head is the embedding"
                 : "");
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

  // The shapes of a fused tensor in the two orders.
  struct Orders {
    Shape fused;
    Shape turned;

    bool fit(const Shape& shape) const {
      return shape == fused || shape == turned;
    }
    bool tell(const Shape& shape) const {
      return fused != turned && fit(shape);
    }
  };

  Orders orders_of(bool down) const {
    const int64_t E = config_.num_experts;
    const int64_t D = config_.hidden_size;
    const int64_t F = config_.intermediate_size;
    const int64_t rows = down ? D : 2 * F;
    const int64_t columns = down ? F : D;
    return {{E, rows, columns}, {E, columns, rows}};
  }

  StoredPiece piece(const TensorSpec& spec, const TensorEntry& entry) {
    const int64_t F = config_.intermediate_size;
    const bool down = spec.part == Part::kDown;
    StoredPiece piece{.name = entry.name, .expert = spec.expert};
    piece.rows = down ? config_.hidden_size : F;
    piece.first = spec.part == Part::kUp ? F : 0;
    piece.turned = is_turned(spec, entry);
    return piece;
  }

  // Where the two orders give one shape (D = F of down_proj, D = 2F of
  // gate_up_proj) the other tensor tells them apart: it never happens to both.
  bool is_turned(const TensorSpec& spec, const TensorEntry& entry) {
    const bool down = spec.part == Part::kDown;
    const Orders orders = orders_of(down);
    if (orders.tell(entry.shape)) return entry.shape == orders.turned;
    if (orders.fit(entry.shape)) {
      const TensorEntry* other = find_(
          in_fused(spec, down ? "experts.gate_up_proj" : "experts.down_proj"));
      const Orders theirs = orders_of(!down);
      if (other != nullptr && theirs.tell(other->shape)) {
        return other->shape == theirs.turned;
      }
    }
    if (!reported_.insert(entry.name).second) return false;
    if (orders.fit(entry.shape)) {
      complain(
          "tensor '{}' is {}, which both orders of the experts' dimensions "
          "fit, and the other tensor of the experts does not tell; save the "
          "experts apart",
          entry.name, to_string(entry.shape));
    } else {
      complain("tensor '{}' is {}, expected {} or {}", entry.name,
               to_string(entry.shape), to_string(orders.fused),
               to_string(orders.turned));
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
