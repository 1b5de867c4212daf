#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

// Which pieces of a vocabulary a text starts with: a trie over bytes, laid out
// level by level, so that the children of a node lie side by side, in order.
//
// Immutable after construction. A piece given twice keeps its last value; an
// empty piece is never found.
namespace annuli {

class PieceTrie {
 public:
  PieceTrie()
      : PieceTrie(std::vector<std::pair<std::string_view, int32_t>>{}) {}
  // Values are 0 or more.
  explicit PieceTrie(std::vector<std::pair<std::string_view, int32_t>> pieces);

  // Calls `visit(length, value)` for each piece that `text` starts with, the
  // shortest first.
  template <typename Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    if (text.empty()) return;
    int32_t node = roots_[static_cast<unsigned char>(text[0])];
    for (size_t at = 1; node >= 0; ++at) {
      if (nodes_[node].value >= 0) visit(at, nodes_[node].value);
      if (at == text.size()) return;
      node = child(node, static_cast<unsigned char>(text[at]));
    }
  }

  bool starts_with(unsigned char byte) const { return roots_[byte] >= 0; }

  // The longest piece that `text` starts with: its length and its value.
  std::optional<std::pair<size_t, int32_t>> longest(
      std::string_view text) const;

 private:
  struct Node {
    int32_t value = -1;
    int32_t first_child = 0;
    int32_t children = 0;
  };

  int32_t child(int32_t node, unsigned char byte) const {
    int32_t low = nodes_[node].first_child;
    int32_t high = low + nodes_[node].children;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (labels_[middle] < byte) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const bool found = low < nodes_[node].first_child + nodes_[node].children &&
                       labels_[low] == byte;
    return found ? low : -1;
  }

  std::array<int32_t, 256> roots_{};  // the nodes of first bytes, or -1
  std::vector<Node> nodes_;           // 0 is the root
  std::vector<unsigned char> labels_;
};

}  // namespace annuli
