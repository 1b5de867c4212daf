#include "annuli/kernels/memory/owned_memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "annuli/core/error.h"
#include "annuli/kernels/dispatch.h"

namespace annuli::kernels {

namespace {

// Below this a tensor is part of the small rest and comes from the heap.
constexpr size_t kOwnMapping = size_t{1} << 20;

// Fresh pages are zero. The kernel may back them with huge pages, which makes
// the first touch cheaper; it is a hint and may fail.
void* map_pages(size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    user_error(
        "allocating {} bytes for weights: the system says '{}'; try a "
        "smaller model or a machine with more memory",
        bytes, std::strerror(errno));
  }
  madvise(pages, bytes, MADV_HUGEPAGE);
  return pages;
}

size_t byte_size(at::IntArrayRef shape, at::ScalarType dtype) {
  size_t bytes = c10::elementSize(dtype);
  for (int64_t size : shape) bytes *= static_cast<size_t>(size);
  return bytes;
}

at::Tensor mapped(at::IntArrayRef shape, at::ScalarType dtype, size_t bytes) {
  void* pages = map_pages(bytes);
  return at::from_blob(
      pages, shape, [bytes](void* data) { munmap(data, bytes); },
      at::TensorOptions(dtype));
}

}  // namespace

at::Tensor owned_empty(at::IntArrayRef shape, at::ScalarType dtype,
                       at::Device device) {
  const size_t bytes = byte_size(shape, dtype);
  if (is_host(device) && bytes >= kOwnMapping) {
    return mapped(shape, dtype, bytes);
  }
  return at::empty(shape, at::TensorOptions(dtype).device(device));
}

at::Tensor owned_zeros(at::IntArrayRef shape, at::ScalarType dtype,
                       at::Device device) {
  const size_t bytes = byte_size(shape, dtype);
  if (is_host(device) && bytes >= kOwnMapping) {
    return mapped(shape, dtype, bytes);
  }
  return at::empty(shape, at::TensorOptions(dtype).device(device)).zero_();
}

at::Tensor owned_copy(const at::Tensor& source) {
  at::Tensor copy =
      owned_empty(source.sizes(), source.scalar_type(), source.device());
  copy.copy_(source.detach());
  return copy;
}

}  // namespace annuli::kernels
