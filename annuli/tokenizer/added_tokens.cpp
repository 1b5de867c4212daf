#include "annuli/tokenizer/added_tokens.h"

namespace annuli {

AddedTokenMatcher::AddedTokenMatcher(const std::vector<AddedToken>& tokens)
    : nodes_(1) {
  for (const AddedToken& token : tokens) {
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
    nodes_[node].id = token.id;
    nodes_[node].special = token.special;
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
    if (nodes_[node].id >= 0) best = {at, node};
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
    const Node& node = nodes_[match.node];
    if (allow_special || !node.special) {
      if (at > begin) plain(text.substr(begin, at - begin));
      token(node.id);
      begin = match.end;
    }
    at = match.end;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

}  // namespace annuli
