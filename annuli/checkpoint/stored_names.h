#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/model/tensor_table.h"

// How the names in the files stand to those of the tensor table, where another
// program has wrapped the model that it saved:
//
//   wrappers   the parts _orig_mod (torch.compile), _fsdp_wrapped_module and
//              _checkpoint_wrapped_module, anywhere in a name, are left out;
//   a prefix   that all names share ("module.", "base_model.model.", "model."
//              before "model.") is taken off;
//   no base    where the class without a head was saved, no name begins with
//              "model.": it is put in front.
//
// ("model." stands for what the family calls it.) A head that is called
// "lm_head", as it is in the memory of transformers 5, is the family's.
//
// Only what makes the first layer's first tensor the table's own is done, and
// only if all names share it; whether the result is the model is for the
// table's accounting to say.
namespace annuli {

struct TensorNames;

class StoredNames {
 public:
  StoredNames() = default;
  // `tensors`: the names of the table's family.
  StoredNames(const std::vector<TensorEntry>& entries, const TensorTable& table,
              const TensorNames& tensors);

  // The name in the files of what the table calls `name`; "" if there is none.
  std::string stored(const std::string& name) const;
  // What the table would call the tensor that the files call `stored`.
  const std::string& of_table(const std::string& stored) const;

  // What was done, in a sentence; "" if nothing.
  const std::string& note() const { return note_; }

 private:
  std::unordered_map<std::string, std::string> stored_;    // by table's name
  std::unordered_map<std::string, std::string> of_table_;  // by stored name
  std::string note_;
};

}  // namespace annuli
