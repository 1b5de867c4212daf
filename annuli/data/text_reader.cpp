#include "annuli/data/text_reader.h"

#include "annuli/data/unpack.h"

namespace annuli::data {
namespace {

std::unique_ptr<ByteSource> open_source(const fs::path& path, Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return unpack_gzip(path);
    case Packing::kZstd:
      return unpack_zstd(path);
    case Packing::kNone:
      break;
  }
  return open_plain(path);
}

}  // namespace

TextReader::TextReader(const fs::path& path, Packing packing)
    : path_(path),
      unpacks_(packing != Packing::kNone),
      source_(open_source(path, packing)) {}

bool TextReader::append_to(std::string& text) {
  constexpr size_t kPiece = 1 << 20;
  const size_t size = text.size();
  text.resize(size + kPiece);
  const size_t got = source_->read(text.data() + size, kPiece);
  text.resize(size + got);
  if (at_start_ && unpacks_) {
    refuse_unpacked(path_, std::string_view(text).substr(size, kHeadBytes));
  }
  at_start_ = false;
  return got > 0;
}

}  // namespace annuli::data
