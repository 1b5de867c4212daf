#include <algorithm>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/data/token_file.h"
#include "annuli/data/token_file_format.h"

namespace annuli::data {
namespace {

void copy_hash(const std::string& hash, char (&field)[64]) {
  ANNULI_CHECK(hash.size() == sizeof(field), "'{}' is not SHA-256 in hex",
               hash);
  std::memcpy(field, hash.data(), sizeof(field));
}

TokenFileHeader make_header(const TokenFileOrigin& origin) {
  TokenFileHeader header;
  std::memcpy(header.magic, kTokenFileMagic.data(), kTokenFileMagic.size());
  header.version = kTokenFileVersion;
  header.vocab_size = static_cast<uint64_t>(origin.vocab_size);
  header.token_bytes = token_width(header.vocab_size);
  copy_hash(origin.tokenizer_hash, header.tokenizer_hash);
  copy_hash(origin.inputs_hash, header.inputs_hash);
  if (origin.borders) {
    const auto& [begin, end] = *origin.borders;
    ANNULI_CHECK(begin.size() + end.size() <= kMostBorderIds,
                 "{} and {} ids around a document, at most {}", begin.size(),
                 end.size(), kMostBorderIds);
    header.records_borders = 1;
    header.begin_count = static_cast<uint8_t>(begin.size());
    header.end_count = static_cast<uint8_t>(end.size());
    std::ranges::copy(end, std::ranges::copy(begin, header.border_ids).out);
  }
  return header;
}

}  // namespace

TokenFileWriter::TokenFileWriter(fs::path path, TokenFileOrigin origin)
    : origin_(std::move(origin)), file_(std::move(path)) {
  ANNULI_CHECK(origin_.vocab_size > 0, "a vocabulary of {}",
               origin_.vocab_size);
  const TokenFileHeader header = make_header(origin_);
  file_.write(&header, sizeof(header));
}

void TokenFileWriter::append(std::span<const int32_t> tokens,
                             int64_t text_bytes) {
  ANNULI_CHECK(!tokens.empty() && text_bytes >= 0,
               "a document of {} tokens and {} bytes", tokens.size(),
               text_bytes);
  const auto [least, most] = std::ranges::minmax(tokens);
  ANNULI_CHECK(least >= 0 && most < origin_.vocab_size,
               "ids {} to {} in a vocabulary of {}", least, most,
               origin_.vocab_size);
  if (token_width(static_cast<uint64_t>(origin_.vocab_size)) == 2) {
    const std::vector<uint16_t> narrow(tokens.begin(), tokens.end());
    file_.write(narrow.data(), narrow.size() * sizeof(uint16_t));
  } else {
    file_.write(tokens.data(), tokens.size_bytes());
  }
  token_count_ += std::ssize(tokens);
  text_bytes_ += text_bytes;
  ends_.push_back(static_cast<uint64_t>(token_count_));
  ends_.push_back(static_cast<uint64_t>(text_bytes_));
}

void TokenFileWriter::commit() {
  const char zeros[8] = {};
  file_.write(zeros, static_cast<size_t>(-file_.position() & 7));
  file_.write(ends_.data(), ends_.size() * sizeof(uint64_t));
  TokenFileHeader header = make_header(origin_);
  header.token_count = static_cast<uint64_t>(token_count_);
  header.document_count = static_cast<uint64_t>(document_count());
  file_.overwrite(0, &header, sizeof(header));
  file_.commit();
}

}  // namespace annuli::data
