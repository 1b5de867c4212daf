#include "annuli/tokenizer/added_tokens.h"

#include <algorithm>

#include "annuli/tokenizer/characters.h"

namespace annuli {
namespace {

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  return !ends_with_word(text.substr(0, begin)) &&
         !starts_with_word(text.substr(end));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const std::vector<AddedToken>& tokens)
    : tokens_(tokens), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (token.content.empty()) continue;
    int32_t node = 0;
    for (char byte : token.content) {
      int32_t next = child(node, byte);
      if (next < 0) {
        next = static_cast<int32_t>(nodes_.size());
        nodes_[node].edges.push_back({byte, next});
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[node].token = static_cast<int32_t>(i);
    starts_[static_cast<unsigned char>(token.content[0])] = true;
  }
}

int32_t AddedTokenMatcher::child(int32_t node, char byte) const {
  for (const Edge& edge : nodes_[node].edges) {
    if (edge.byte == byte) return edge.node;
  }
  return -1;
}

AddedTokenMatcher::Match AddedTokenMatcher::longest_at(std::string_view text,
                                                       size_t at) const {
  Match best;
  int32_t node = 0;
  while (at < text.size()) {
    node = child(node, text[at++]);
    if (node < 0) break;
    if (nodes_[node].token >= 0) best = {at, node};
  }
  return best;
}

void AddedTokenMatcher::split(
    std::string_view text, bool allow_special,
    const std::function<void(std::string_view)>& plain,
    const std::function<void(int32_t)>& token) const {
  size_t begin = 0;
  size_t at = 0;
  while (!empty() && at < text.size()) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = longest_at(text, at);
    if (match.node < 0) {
      ++at;
      continue;
    }
    const AddedToken& found = tokens_[nodes_[match.node].token];
    const bool taken =
        (allow_special || !found.special) &&
        (!found.single_word || stands_alone(text, at, match.end));
    if (taken) {
      size_t from = at;
      size_t to = match.end;
      if (found.lstrip) {
        from = std::max(begin, size_before_spaces(text.substr(0, at)));
      }
      if (found.rstrip) to += spaces_at_start(text.substr(to));
      if (from > begin) plain(text.substr(begin, from - begin));
      token(found.id);
      begin = to;
    }
    at = match.end;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

}  // namespace annuli
