#include "annuli/data/token_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <ranges>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/data/token_file_format.h"

namespace annuli::data {
namespace {

bool is_hash(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

template <typename Id>
uint32_t largest(const Id* ids, int64_t count) {
  Id most = 0;
  for (int64_t i = 0; i < count; ++i) most = std::max(most, ids[i]);
  return most;
}

template <typename Id>
void widen(const std::byte* tokens, int64_t begin, std::span<int64_t> out) {
  const Id* ids = reinterpret_cast<const Id*>(tokens) + begin;
  std::copy_n(ids, out.size(), out.begin());
}

std::string head(std::string_view hash) {
  return std::string(hash.substr(0, 12));
}

}  // namespace

TokenFile::TokenFile(fs::path path) : mapping_(std::move(path)) {
  const TokenFileHeader header = read_header();
  check_fields(header);
  origin_ = {static_cast<int64_t>(header.vocab_size),
             std::string(header.tokenizer_hash, 64),
             std::string(header.inputs_hash, 64), read_borders(header)};
  locate_body(header);
  check_documents();
  check_ids();
}

void TokenFile::refuse(const std::string& reason) const {
  user_error("opening token file {}: {}; make it anew with `annuli tokenize`",
             path().string(), reason);
}

bool TokenFile::has_magic(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(kTokenFileMagic.size(), '\0');
  file.read(start.data(), std::ssize(start));
  return file && start == kTokenFileMagic;
}

TokenFileHeader TokenFile::read_header() const {
  const auto bytes = mapping_.bytes();
  TokenFileHeader header;
  if (bytes.size() < sizeof(header)) {
    refuse(fmt::format("found {} bytes, expected a header of {}", bytes.size(),
                       sizeof(header)));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::string_view(header.magic, 8) != kTokenFileMagic) {
    refuse("it does not begin as a token file does");
  }
  if (header.version != kTokenFileVersion) {
    refuse(fmt::format("found version {}, expected {}", header.version,
                       kTokenFileVersion));
  }
  return header;
}

void TokenFile::check_fields(const TokenFileHeader& header) const {
  // Ids are int32 wherever they are made.
  if (header.vocab_size == 0 || header.vocab_size > INT32_MAX) {
    refuse(fmt::format("found a vocabulary of {}, expected 1 to {}",
                       header.vocab_size, INT32_MAX));
  }
  if (header.token_bytes != token_width(header.vocab_size)) {
    refuse(fmt::format(
        "found {} bytes a token, expected {} for a vocabulary "
        "of {}",
        header.token_bytes, token_width(header.vocab_size), header.vocab_size));
  }
  if (!is_hash({header.tokenizer_hash, 64}) ||
      !is_hash({header.inputs_hash, 64})) {
    refuse("a hash in its header is not SHA-256 in hex");
  }
}

std::optional<PutBorders> TokenFile::read_borders(
    const TokenFileHeader& header) const {
  if (header.records_borders == 0) return std::nullopt;
  const size_t count = size_t{header.begin_count} + header.end_count;
  if (header.records_borders > 1 || count > kMostBorderIds) {
    refuse(fmt::format("found {} tokens around a document, expected at most {}",
                       count, kMostBorderIds));
  }
  const auto ids = std::span(header.border_ids).first(count);
  for (const int32_t id : ids) {
    if (id >= 0 && static_cast<uint64_t>(id) < header.vocab_size) continue;
    refuse(
        fmt::format("found id {} around documents, expected ids below the "
                    "vocabulary size {}",
                    id, header.vocab_size));
  }
  const auto middle = ids.begin() + header.begin_count;
  return PutBorders{{ids.begin(), middle}, {middle, ids.end()}};
}

void TokenFile::locate_body(const TokenFileHeader& header) {
  const auto bytes = mapping_.bytes();
  // Divided, not multiplied: a count may be anything up to 2^64.
  const uint64_t body = bytes.size() - sizeof(header);
  const uint64_t width = header.token_bytes;
  if (header.token_count > body / width || header.document_count > body / 16) {
    refuse(fmt::format("found {} bytes, too few for {} tokens in {} documents",
                       bytes.size(), header.token_count,
                       header.document_count));
  }
  const uint64_t padded = (header.token_count * width + 7) / 8 * 8;
  const uint64_t expected =
      sizeof(header) + padded + header.document_count * 16;
  if (bytes.size() != expected) {
    refuse(fmt::format(
        "found {} bytes, expected {} for {} tokens in {} "
        "documents",
        bytes.size(), expected, header.token_count, header.document_count));
  }
  token_bytes_ = static_cast<int64_t>(width);
  token_count_ = static_cast<int64_t>(header.token_count);
  tokens_ = bytes.data() + sizeof(header);
  ends_ = {reinterpret_cast<const uint64_t*>(tokens_ + padded),
           header.document_count * 2};
}

void TokenFile::check_documents() const {
  uint64_t token = 0;
  uint64_t byte = 0;
  for (int64_t i = 0; i < document_count(); ++i) {
    const uint64_t next_token = end_of(i, 0);
    const uint64_t next_byte = end_of(i, 1);
    if (next_token <= token || next_byte < byte || next_byte > INT64_MAX) {
      refuse(
          fmt::format("document {} ends at token {} and byte {}, the one "
                      "before it at {} and {}",
                      i, next_token, next_byte, token, byte));
    }
    token = next_token;
    byte = next_byte;
  }
  if (token != static_cast<uint64_t>(token_count_)) {
    refuse(fmt::format("its documents end at token {}, expected {}", token,
                       token_count_));
  }
}

void TokenFile::check_ids() const {
  constexpr int64_t kSlice = 4 << 20;
  for (int64_t begin = 0; begin < token_count_; begin += kSlice) {
    const int64_t count = std::min(kSlice, token_count_ - begin);
    const std::byte* slice = tokens_ + begin * token_bytes_;
    const uint32_t most =
        token_bytes_ == 2
            ? largest(reinterpret_cast<const uint16_t*>(slice), count)
            : largest(reinterpret_cast<const uint32_t*>(slice), count);
    mapping_.drop_resident();
    if (most < vocab_size()) continue;
    std::vector<int64_t> ids(static_cast<size_t>(count));
    read(begin, ids);
    const auto bad = std::ranges::find_if(
        ids, [this](int64_t id) { return id >= vocab_size(); });
    refuse(
        fmt::format("found id {} at token {}, expected ids below the "
                    "vocabulary size {}",
                    *bad, begin + (bad - ids.begin()), vocab_size()));
  }
}

void TokenFile::require_tokenizer(int64_t vocab_size,
                                  const std::string& hash) const {
  if (vocab_size == this->vocab_size() && hash == tokenizer_hash()) return;
  refuse(fmt::format(
      "found tokens of tokenizer {} with vocabulary {}, "
      "expected tokenizer {} with vocabulary {}",
      head(tokenizer_hash()), this->vocab_size(), head(hash), vocab_size));
}

int64_t TokenFile::text_bytes() const {
  return document_count() == 0
             ? 0
             : static_cast<int64_t>(end_of(document_count() - 1, 1));
}

TokenRange TokenFile::document(int64_t i) const {
  ANNULI_CHECK(i >= 0 && i < document_count(), "document {} of {}", i,
               document_count());
  return {i == 0 ? 0 : static_cast<int64_t>(end_of(i - 1, 0)),
          static_cast<int64_t>(end_of(i, 0))};
}

int64_t TokenFile::document_of(int64_t token) const {
  ANNULI_CHECK(token >= 0 && token < token_count_, "token {} of {}", token,
               token_count_);
  const auto documents = std::views::iota(int64_t{0}, document_count());
  return *std::ranges::partition_point(documents, [&](int64_t i) {
    return end_of(i, 0) <= static_cast<uint64_t>(token);
  });
}

int64_t TokenFile::document_bytes(int64_t i) const {
  ANNULI_CHECK(i >= 0 && i < document_count(), "document {} of {}", i,
               document_count());
  return static_cast<int64_t>(end_of(i, 1) - (i == 0 ? 0 : end_of(i - 1, 1)));
}

uint64_t TokenFile::end_of(int64_t document, size_t column) const {
  return ends_[static_cast<size_t>(document) * 2 + column];
}

void TokenFile::read(int64_t begin, std::span<int64_t> out) const {
  ANNULI_CHECK(begin >= 0 && begin <= token_count_ &&
                   std::ssize(out) <= token_count_ - begin,
               "tokens {} to {} of {}", begin, begin + std::ssize(out),
               token_count_);
  if (token_bytes_ == 2) {
    widen<uint16_t>(tokens_, begin, out);
  } else {
    widen<uint32_t>(tokens_, begin, out);
  }
}

}  // namespace annuli::data
