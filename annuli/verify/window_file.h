#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/core/scratch_file.h"
#include "annuli/model/transformer.h"

namespace annuli::verify {

// What one window of the probe did.
struct WindowRecord {
  at::Tensor logits;  // [1, T, V]
  Trace trace;
};

// Windows, kept on disk. What a model did on one is as large as a training
// step's activations, and a proof looks at one at a time. Tensors come back bit
// for bit and contiguous, on the CPU.
class WindowFile {
 public:
  void add(const WindowRecord& window);
  WindowRecord read(size_t i) const;
  size_t size() const { return windows_.size(); }

 private:
  struct Place {
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape;
    int64_t offset = -1;  // -1: an undefined tensor
  };
  using Window = std::vector<Place>;

  Place put(const at::Tensor& tensor);
  at::Tensor get(const Place& place) const;

  ScratchFile file_;
  std::vector<Window> windows_;  // tensors in the order of visit_tensors
};

}  // namespace annuli::verify
