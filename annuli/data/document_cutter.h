#pragma once

#include <functional>
#include <string>
#include <string_view>

// One text cut into documents where it spells a separator: `<|endoftext|>` of
// TinyStories, say.
//
// The separator is no part of a document, and neither is one line break right
// after it: "a\n<|endoftext|>\nb" is "a\n" and "b". What stands before it
// stays. Documents may be empty; whoever takes them drops those.
//
// The text may come in pieces, cut anywhere; only the document at hand is kept.
namespace annuli::data {

class DocumentCutter {
 public:
  using Use = std::function<void(std::string_view)>;

  // `use` gets each document when it ends. An empty separator cuts nothing.
  DocumentCutter(std::string separator, Use use);

  void add(std::string_view piece);
  // The last document; after it a new text begins.
  void finish();

 private:
  void cut(bool at_end);

  std::string separator_;
  Use use_;
  std::string pending_;
  size_t searched_ = 0;  // of it: no separator begins before
};

}  // namespace annuli::data
