#include "annuli/data/laid_out_text.h"

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::data {

LaidOutText::LaidOutText(const TokenFile& file,
                         std::vector<TokenRange> documents)
    : file_(&file), documents_(std::move(documents)), starts_{0} {
  for (const TokenRange& range : documents_) {
    ANNULI_CHECK(range.begin >= 0 && range.begin < range.end &&
                     range.end <= file.token_count(),
                 "tokens {} to {} of {}", range.begin, range.end,
                 file.token_count());
    starts_.push_back(starts_.back() + range.size());
  }
}

void LaidOutText::visit_pieces(int64_t position, std::span<int64_t> out,
                               const Visit& visit) const {
  ANNULI_CHECK(position >= 0 && position < token_count(), "token {} of {}",
               position, token_count());
  const auto after = std::ranges::upper_bound(starts_, position);
  auto range = static_cast<size_t>(after - starts_.begin() - 1);
  int64_t offset = position - starts_[range];
  while (!out.empty()) {
    const int64_t begin = documents_[range].begin + offset;
    const int64_t count =
        std::min(std::ssize(out), documents_[range].end - begin);
    visit({begin, begin + count}, out.first(static_cast<size_t>(count)));
    out = out.subspan(static_cast<size_t>(count));
    range = (range + 1) % documents_.size();
    offset = 0;
  }
}

void LaidOutText::read(int64_t position, std::span<int64_t> out) const {
  visit_pieces(position, out, [&](TokenRange piece, std::span<int64_t> part) {
    file_->read(piece.begin, part);
  });
}

void LaidOutText::read_documents(int64_t position,
                                 std::span<int64_t> out) const {
  const int64_t* const first = out.data();
  visit_pieces(position, out, [&](TokenRange piece, std::span<int64_t> part) {
    for (int64_t document = file_->document_of(piece.begin); !part.empty();
         ++document) {
      const int64_t end = std::min(file_->document(document).end, piece.end);
      const auto count = static_cast<size_t>(end - piece.begin);
      std::ranges::fill(part.first(count), part.data() - first);
      part = part.subspan(count);
      piece.begin = end;
    }
  });
}

}  // namespace annuli::data
