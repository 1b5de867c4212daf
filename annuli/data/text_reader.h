#pragma once

#include <memory>
#include <string>

#include "annuli/core/file.h"
#include "annuli/data/text_format.h"

// The bytes of a file of text, unpacked, piece by piece.
//
// gzip   all members; zeros behind the last are padding
// zstd   all frames; skippable ones are skipped
//
// A UserError names the file: one that is damaged or cut short, one with other
// bytes behind the last member or frame, and one whose unpacked bytes are
// certainly no text (see text_format.h).
namespace annuli::data {

// What is read from; `read` gives up to `size` bytes, fewer only at the end.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual size_t read(char* data, size_t size) = 0;
};

class TextReader {
 public:
  TextReader(const fs::path& path, Packing packing);

  // Appends the next piece to `text`; false at the end.
  bool append_to(std::string& text);

 private:
  fs::path path_;
  bool unpacks_;
  bool at_start_ = true;
  std::unique_ptr<ByteSource> source_;
};

}  // namespace annuli::data
