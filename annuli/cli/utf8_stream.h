#pragma once

#include <string>
#include <string_view>

// Cuts a stream of bytes so that no character is torn: tokens of a byte-level
// vocabulary may end in the middle of one, and a terminal would show rubbish.
//
// Bytes that belong to no character pass as they are, at once; nothing is ever
// lost: the pieces, with `rest` last, are the bytes that came in.
namespace annuli::cli {

class Utf8Stream {
 public:
  // Takes more bytes; returns all that can be shown now.
  std::string add(std::string_view bytes);

  // What is left: the beginning of a character that never ended.
  std::string rest();

 private:
  std::string held_;
};

}  // namespace annuli::cli
