#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "annuli/core/gguf_file.h"
#include "annuli/gguf/stored_config.h"
#include "annuli/model/tensor_table.h"

// The model in a GGUF file, as our tensor table has it: names, order of rows
// and experts are taken back (tensor_names.h).
//
// Types: a file of f32, f16 or bf16 gives what it holds. Where all matrices are
// f16 (or bf16) its gains, biases and routers, which such files hold as f32,
// are that type too if each number is one of it: the model was stored so before
// it was converted. Where anything is in blocks (q8_0, q4_0, q4_K, q5_K, q6_K)
// all weights are f32, and `note` says so.
//
// Opening reads no more than the small tensors of f32. UserError, one line,
// "reading PATH: ...", for what stored_config.h refuses, for tensors that are
// missing, of another shape, or not of the model.
namespace annuli::gguf {

struct StoredRow {
  std::string name;  // in the table
  Part part = Part::kEmbedding;
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;
  Type type = Type::kF32;
  int64_t offset = 0;  // of its numbers, from the file's start
  int64_t bytes = 0;
  bool as_it_is = false;  // the file has just these numbers in this order
};

class StoredModel {
 public:
  explicit StoredModel(File file);

  const Json& config_json() const { return stored_.json; }
  const std::vector<StoredRow>& rows() const { return rows_; }
  // "" where every tensor is read in the type that it has.
  const std::string& note() const { return note_; }

  // A row in memory of its own, contiguous.
  at::Tensor make(const StoredRow& row) const;

 private:
  void locate();
  void locate_row(const TensorSpec& spec);
  void refuse_others() const;
  bool is_zero_bias(const Tensor& tensor) const;
  void choose_types();
  void narrow_to(at::ScalarType dtype);

  File file_;
  StoredConfig stored_;
  std::vector<StoredRow> rows_;
  std::vector<std::string> used_;  // names in the file, sorted
  std::string note_;
};

}  // namespace annuli::gguf
