#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/config/model_config.h"
#include "annuli/model/tensor_table.h"

// Where the tensors of a table lie in a file. Three layouts of a mixture's
// experts are in use:
//
//   apart    each expert's matrices by themselves, under the table's names
//   fused    mlp.experts.gate_up_proj [E, 2F, D], the gates first, and
//            mlp.experts.down_proj [E, D, F] (transformers 5, when told so)
//   turned   the same names, [E, D, 2F] and [E, F, D] (older files)
//
// The last two exist for gated experts only and differ by shape alone. Where
// one of the two tensors fits both, gate_up_proj with D = 2F or down_proj with
// D = F, the other tells. Fused files name the router under "mlp" too.
namespace annuli {

// A row of the table as a piece of a stored tensor.
struct StoredPiece {
  std::string name;     // in the file
  int64_t expert = -1;  // entry of its first dimension; -1: all of it
  int64_t first = 0;    // first row of the piece, after turning
  int64_t rows = 0;     // how many; used with an expert only
  bool turned = false;

  // The piece of the tensor that is stored under `name`: a view.
  at::Tensor of(const at::Tensor& stored) const;
};

// The file's entry of that name, or null.
using FindEntry = std::function<const TensorEntry*(const std::string& name)>;

struct StoredTable {
  std::vector<StoredPiece> pieces;  // one per row; no name: nowhere
  // One line for each row that is missing or of another shape.
  std::vector<std::string> faults;
};

StoredTable locate(const ModelConfig& config, const TensorTable& table,
                   const FindEntry& find);

}  // namespace annuli
