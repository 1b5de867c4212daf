#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace annuli::verify {

// The fixed text that proofs are computed on. Windows are evaluated one at a
// time, so that parent and child run in the same shapes.
struct Probe {
  std::vector<at::Tensor> tokens;   // each [1, T] int64
  std::vector<at::Tensor> targets;  // each [1, T] int64
  at::Tensor router_tokens;         // [W, T] int64, for experts' load
  // Random ids are not: what a router does with them says nothing about it.
  bool is_text = true;
};

}  // namespace annuli::verify
