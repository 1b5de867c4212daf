#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Tokens that are matched in the text before anything else looks at it:
// `<|endoftext|>` and the like.
namespace annuli {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = true;
  bool normalized = false;   // matched after the normalizer, not before it
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the spaces before it along
  bool rstrip = false;       // and those after it
  bool in_text = true;       // false: never found in a text, only an id
};

// Finds the tokens of one set: leftmost first, and of those that start at one
// place the longest; matches do not overlap. A match that may not be taken (a
// special token where none is wanted, a part of a longer word) stays plain
// text, and no other is tried in its place: as Python's `tokenizers` does.
// Immutable after construction.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() : AddedTokenMatcher(std::vector<AddedToken>{}) {}
  explicit AddedTokenMatcher(const std::vector<AddedToken>& tokens);

  bool empty() const { return nodes_.size() == 1; }

  // Tokens whose content is empty are never found. Calls `plain` with each
  // stretch between tokens and `token` with each id, in order. With
  // `allow_special` false a match of a special token stays part of its stretch.
  void split(std::string_view text, bool allow_special,
             const std::function<void(std::string_view)>& plain,
             const std::function<void(int32_t)>& token) const;

 private:
  struct Edge {
    char byte;
    int32_t node;
  };
  struct Node {
    std::vector<Edge> edges;
    int32_t token = -1;  // index into tokens_
  };
  struct Match {
    size_t end = 0;
    int32_t node = -1;
  };
  int32_t child(int32_t node, char byte) const;
  Match longest_at(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;  // a trie; 0 is the root
  std::array<bool, 256> starts_{};
};

}  // namespace annuli
