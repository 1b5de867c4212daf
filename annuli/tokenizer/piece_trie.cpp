#include "annuli/tokenizer/piece_trie.h"

#include <algorithm>

namespace annuli {
namespace {

// Pieces that share their first `depth` bytes, which lead to `node`.
struct Span {
  size_t begin;
  size_t end;
  size_t depth;
  int32_t node;
};

}  // namespace

PieceTrie::PieceTrie(std::vector<std::pair<std::string_view, int32_t>> pieces)
    : nodes_(1), labels_(1) {
  std::stable_sort(
      pieces.begin(), pieces.end(),
      [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Span> level = {{0, pieces.size(), 0, 0}};
  for (size_t next = 0; next < level.size(); ++next) {
    const Span span = level[next];
    size_t at = span.begin;
    // Shorter pieces sort first; of equal ones the last was given last.
    for (; at < span.end && pieces[at].first.size() == span.depth; ++at) {
      nodes_[span.node].value = pieces[at].second;
    }
    nodes_[span.node].first_child = static_cast<int32_t>(nodes_.size());
    while (at < span.end) {
      const char byte = pieces[at].first[span.depth];
      const size_t begin = at;
      while (at < span.end && pieces[at].first[span.depth] == byte) ++at;
      level.push_back(
          {begin, at, span.depth + 1, static_cast<int32_t>(nodes_.size())});
      nodes_.emplace_back();
      labels_.push_back(static_cast<unsigned char>(byte));
    }
    Node& node = nodes_[span.node];
    node.children = static_cast<int32_t>(nodes_.size()) - node.first_child;
  }
  for (int byte = 0; byte < 256; ++byte) {
    roots_[byte] = child(0, static_cast<unsigned char>(byte));
  }
}

std::optional<std::pair<size_t, int32_t>> PieceTrie::longest(
    std::string_view text) const {
  std::optional<std::pair<size_t, int32_t>> best;
  for_each_prefix(text, [&](size_t length, int32_t value) {
    best = {length, value};
  });
  return best;
}

}  // namespace annuli
