#include "annuli/kernels/documents.h"

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

std::vector<std::vector<DocumentRange>> document_ranges(
    const at::Tensor& documents, int64_t B, int64_t T) {
  if (!documents.defined()) {
    return {static_cast<size_t>(B), std::vector{DocumentRange{0, T}}};
  }
  ANNULI_CHECK(documents.sizes() == at::IntArrayRef({B, T}) &&
                   documents.scalar_type() == at::kLong && is_plain(documents),
               "documents are {}, of {} x {} tokens", words_of(documents), B,
               T);
  std::vector<std::vector<DocumentRange>> ranges(static_cast<size_t>(B));
  const int64_t* first = documents.const_data_ptr<int64_t>();
  for (auto& of_sequence : ranges) {
    for (int64_t t = 0; t < T; ++t) {
      if (first[t] == t) of_sequence.push_back({t, t});
      ANNULI_CHECK(!of_sequence.empty() && first[t] == of_sequence.back().begin,
                   "token {} is of the document from {}", t, first[t]);
      of_sequence.back().end = t + 1;
    }
    first += T;
  }
  return ranges;
}

}  // namespace annuli::kernels
