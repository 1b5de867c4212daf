#include "annuli/generate/decode_weights.h"

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"

namespace annuli::decoding {

Weights::Weights(const Transformer& model) : index_(model.table()) {
  ANNULI_CHECK(readable(model), "decoding reads no such model");
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.is_coded(row) && kernels::is_row_matrix(model.codes(row))) {
      tensors_.push_back(model.codes(row).codes);
      exponents_.push_back(model.codes(row).exponents);
      matrices_.push_back(kernels::row_matrix(model.codes(row)));
      continue;
    }
    const at::Tensor weight =
        (model.is_coded(row) ? model.read_weight(row) : model.weight(row))
            .detach();
    const bool matrix = model.table()[row].is_matrix();
    tensors_.push_back(matrix ? weight : weight.to(at::kFloat).contiguous());
    matrices_.push_back(matrix ? kernels::row_matrix(weight)
                               : kernels::RowMatrix());
  }
}

const float* Weights::vector(Part part, int64_t layer, int64_t expert) const {
  const int64_t row = index_.row(part, layer, expert);
  return row < 0 ? nullptr : tensors_[row].const_data_ptr<float>();
}

kernels::RowMatrix Weights::matrix(Part part, int64_t layer,
                                   int64_t expert) const {
  const int64_t row = index_.row(part, layer, expert);
  ANNULI_CHECK(row >= 0, "the model has no {}", to_string(part));
  return matrices_[row];
}

const at::Tensor& Weights::embedding() const {
  return tensors_[index_.row(Part::kEmbedding)];
}

bool readable(const Transformer& model) {
  if (model.dtype() != at::kFloat || !kernels::is_host(model.device()))
    return false;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const at::Tensor& weight = model.weight(row);
    if (!weight.defined()) return false;
    if (weight.dim() == 2 && !kernels::is_row_matrix(weight)) return false;
  }
  return true;
}

}  // namespace annuli::decoding
