#include "annuli/data/document_cutter.h"

#include <algorithm>
#include <utility>

namespace annuli::data {

DocumentCutter::DocumentCutter(std::string separator, Use use)
    : separator_(std::move(separator)), use_(std::move(use)) {}

void DocumentCutter::add(std::string_view piece) {
  pending_ += piece;
  if (!separator_.empty()) cut(/*at_end=*/false);
}

void DocumentCutter::finish() {
  if (!separator_.empty()) cut(/*at_end=*/true);
  use_(pending_);
  pending_.clear();
  searched_ = 0;
}

// A separator waits for the two bytes after it, which may be its line break.
void DocumentCutter::cut(bool at_end) {
  const std::string_view text = pending_;
  size_t begin = 0;
  size_t found = text.find(separator_, searched_);
  while (found != text.npos) {
    size_t next = found + separator_.size();
    if (!at_end && next + 2 > text.size()) break;
    use_(text.substr(begin, found - begin));
    if (text.substr(next).starts_with("\r\n")) {
      next += 2;
    } else if (text.substr(next).starts_with('\n')) {
      next += 1;
    }
    begin = next;
    found = text.find(separator_, begin);
  }
  const size_t end =
      found == text.npos
          ? text.size() - std::min(text.size() - begin, separator_.size() - 1)
          : found;
  searched_ = std::max(end, begin) - begin;
  pending_.erase(0, begin);
}

}  // namespace annuli::data
