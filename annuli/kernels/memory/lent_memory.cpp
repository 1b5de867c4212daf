#include "annuli/kernels/memory/lent_memory.h"

#include <utility>

#include "annuli/core/error.h"

namespace annuli::kernels {
namespace {

c10::StorageImpl& storage_of(const at::Tensor& tensor) {
  ANNULI_CHECK(tensor.is_contiguous() && tensor.storage_offset() == 0,
               "memory of a view of a larger tensor");
  return *tensor.storage().unsafeGetStorageImpl();
}

at::DataPtr no_memory(const at::Tensor& tensor) {
  return {nullptr, tensor.device()};
}

}  // namespace

void give_up_memory(const at::Tensor& tensor) {
  c10::StorageImpl& storage = storage_of(tensor);
  storage.set_data_ptr_noswap(no_memory(tensor));
  storage.set_nbytes(0);
}

void take_memory(const at::Tensor& tensor, at::Tensor&& memory) {
  const size_t bytes = memory.nbytes();
  ANNULI_CHECK(bytes == tensor.nbytes() && memory.device() == tensor.device(),
               "{} bytes for a tensor of {}", bytes, tensor.nbytes());
  c10::StorageImpl& from = storage_of(memory);
  c10::StorageImpl& to = storage_of(tensor);
  to.set_data_ptr_noswap(from.set_data_ptr(no_memory(memory)));
  to.set_nbytes(bytes);
  memory.reset();
}

bool has_memory(const at::Tensor& tensor) {
  return tensor.numel() == 0 || storage_of(tensor).nbytes() == tensor.nbytes();
}

}  // namespace annuli::kernels
