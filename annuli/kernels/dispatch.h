#pragma once

#include <ATen/core/Tensor.h>

// Which folder carries an operation out: cpu/ where its tensors lie in memory
// that the program itself may read, reference/ on every other device. A device
// that gets kernels of its own gets a folder beside cpu/, with files of the
// same names, and a branch in the dispatch of each operation that it has: the
// operation's own source in this folder.
//
// Only this header asks a tensor for its device's kind
// (tests/device/seams_test.cpp reads the sources).
namespace annuli::kernels {

inline bool is_host(const at::Tensor& tensor) { return tensor.is_cpu(); }
inline bool is_host(at::Device device) { return device.is_cpu(); }

// What a loop over plain memory takes as it is.
inline bool is_plain(const at::Tensor& tensor) {
  return is_host(tensor) && tensor.is_contiguous();
}

}  // namespace annuli::kernels
