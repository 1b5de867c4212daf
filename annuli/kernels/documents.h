#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

// The documents that the sequences of a batch are made of: a tensor [B, T] of
// int64 on the host which says of each token where its document begins in the
// sequence. It is 0 at the first token, and at each token either what it is at
// the one before, or the token's own place. An undefined tensor: each sequence
// is one document.
namespace annuli::kernels {

// Tokens begin .. end - 1 of a sequence.
struct DocumentRange {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

// Those of each sequence, in order; together they are 0 .. T - 1.
std::vector<std::vector<DocumentRange>> document_ranges(
    const at::Tensor& documents, int64_t B, int64_t T);

}  // namespace annuli::kernels
