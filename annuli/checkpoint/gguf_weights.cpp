#include "annuli/checkpoint/gguf_weights.h"

#include <utility>

#include "annuli/core/error.h"

namespace annuli {

GgufWeights::GgufWeights(fs::path file)
    : MappedTensors(std::move(file)),
      model_(gguf::File(bytes(), path().string())) {
  for (size_t i = 0; i < model_.rows().size(); ++i) {
    const gguf::StoredRow& row = model_.rows()[i];
    row_.emplace(row.name, i);
    ANNULI_CHECK(add({.name = row.name,
                      .dtype = row.dtype,
                      .shape = row.shape,
                      .offset = row.as_it_is ? row.offset : kMade,
                      .bytes = byte_size(row.shape, row.dtype).value()}),
                 "the table has {} twice", row.name);
  }
}

at::Tensor GgufWeights::made(const TensorEntry& entry) const {
  return model_.make(model_.rows().at(row_.at(entry.name)));
}

}  // namespace annuli
