#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"

// Tensors that files hold beside those of the table.
namespace annuli {

// Whether it follows from the config, or is of no use any more: the rotary
// frequencies and tables of old files, and GPT-NeoX's masks of attention. (No
// projection is called "attention".)
bool is_derived(const std::string& name);

// Why the head that is stored beside the table of a tied model is not that
// table: the first row in which they differ, and what to do; nothing if they
// are equal up to the rounding of the narrower type. Compares by rows.
std::optional<std::string> head_fault(const at::Tensor& head,
                                      const at::Tensor& table);

bool is_all_zero(const at::Tensor& tensor);

// What names and types say of how the weights are stored: quantised, or with an
// adapter beside them that was not merged. A line, "" if nothing.
std::string unreadable_weights(const std::vector<TensorEntry>& entries);

// The first row that holds NaN or an infinity; nothing if there is none.
std::optional<std::string> value_fault(const std::string& name,
                                       const at::Tensor& tensor);

}  // namespace annuli
