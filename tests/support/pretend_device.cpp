#include "tests/support/pretend_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_cpu_dispatch.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

namespace annuli::test {
namespace {

constexpr auto kKind = c10::DeviceType::PrivateUse1;
constexpr size_t kPage = 4096;

c10::Device the_device() { return {kKind, 0}; }

// ---- memory

struct Block {
  size_t bytes;
  std::string made_by;  // the operator
  int open = 0;
};

// Never destroyed: tensors outlive it otherwise.
std::map<uintptr_t, Block>& blocks() {
  static auto* all = new std::map<uintptr_t, Block>;
  return *all;
}
std::recursive_mutex& mutex() {
  static auto* one = new std::recursive_mutex;
  return *one;
}

thread_local std::string operator_at_work = "none";

std::map<uintptr_t, Block>::iterator block_of(const void* address) {
  const auto where = reinterpret_cast<uintptr_t>(address);
  auto next = blocks().upper_bound(where);
  if (next == blocks().begin()) return blocks().end();
  --next;
  return where < next->first + next->second.bytes ? next : blocks().end();
}

void release(void* data) {
  const std::lock_guard lock(mutex());
  const auto found = block_of(data);
  ::munmap(data, found->second.bytes);
  blocks().erase(found);
}

struct Memory : c10::Allocator {
  c10::DataPtr allocate(size_t wanted) override {
    const size_t bytes =
        (std::max<size_t>(wanted, 1) + kPage - 1) / kPage * kPage;
    void* data =
        ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(data != MAP_FAILED, "the pretend device's memory is full");
    const std::lock_guard lock(mutex());
    blocks()[reinterpret_cast<uintptr_t>(data)] = {bytes, operator_at_work};
    return {data, data, &release, the_device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void*, const void*, size_t) const override {
    TORCH_CHECK(false, "the pretend device copies tensors, not bytes");
  }
};
Memory memory;

// Opens the memory of a tensor for as long as it lives.
class Opened {
 public:
  explicit Opened(const at::Tensor& tensor) {
    if (tensor.device().type() != kKind || tensor.storage().nbytes() == 0) {
      return;
    }
    data_ = tensor.storage().mutable_data();
    protect(+1);
  }
  ~Opened() {
    if (data_ != nullptr) protect(-1);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  void protect(int change) {
    const std::lock_guard lock(mutex());
    const auto found = block_of(data_);
    TORCH_CHECK(found != blocks().end(), "memory of no block");
    Block& block = found->second;
    const bool was = block.open > 0;
    block.open += change;
    const bool is = block.open > 0;
    if (was == is) return;
    ::mprotect(reinterpret_cast<void*>(found->first), block.bytes,
               is ? PROT_READ | PROT_WRITE : PROT_NONE);
  }

  void* data_ = nullptr;
};

// The same memory as a tensor of the host; to be used while it is open.
at::Tensor on_host(const at::Tensor& tensor) {
  if (tensor.device().type() != kKind) return tensor;
  const auto options = at::TensorOptions(tensor.scalar_type());
  if (tensor.numel() == 0)
    return at::detail::empty_cpu(tensor.sizes(), tensor.scalar_type());
  return at::from_blob(tensor.mutable_data_ptr(), tensor.sizes(),
                       tensor.strides(), options);
}

// Only what is safe in a handler, but for the look into the map: the program is
// at its end.
void name_the_tensor(int signal, siginfo_t* info, void*) {
  ::signal(SIGSEGV, SIG_DFL);
  const auto found = block_of(info->si_addr);
  if (found == blocks().end()) return;
  char text[256];
  const int size = std::snprintf(
      text, sizeof text,
      "the host touched a tensor of the pretend device: %zu bytes, made by "
      "%.100s\n",
      found->second.bytes, found->second.made_by.c_str());
  [[maybe_unused]] const auto written =
      ::write(STDERR_FILENO, text, static_cast<size_t>(size));
}

// ---- counting

DeviceCounts counts;
thread_local bool within = false;  // the operator that is counted already

struct Within {
  explicit Within(const std::string& name)
      : before(within), name_before(operator_at_work) {
    within = true;
    if (!before) operator_at_work = name;
  }
  ~Within() {
    within = before;
    operator_at_work = name_before;
  }
  bool before;
  std::string name_before;
};

void count(const std::string& name) {
  if (within) return;
  const std::lock_guard lock(mutex());
  ++counts.operators;
  ++counts.by_name[name];
}

void count(int64_t DeviceCounts::*what) {
  if (within) return;
  const std::lock_guard lock(mutex());
  ++(counts.*what);
}

// ---- operators

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>,
                 std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(
      size, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>,
                         std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& target, bool) {
  const bool from_device = self.device().type() == kKind;
  const bool to_device = target.device().type() == kKind;
  if (from_device && to_device) {
    count("copy_");
  } else {
    count(from_device ? &DeviceCounts::to_host : &DeviceCounts::to_device);
  }
  const Within here("copy_");
  const Opened from(self), to(target);
  on_host(target).copy_(on_host(self));
  return target;
}

at::Tensor copy_from_and_resize(const at::Tensor& self,
                                const at::Tensor& target) {
  if (target.sizes() != self.sizes()) target.resize_(self.sizes());
  return copy_from(self, target, false);
}

at::Scalar item(const at::Tensor& self) {
  count(&DeviceCounts::items);
  const Within here("item");
  const Opened opened(self);
  return on_host(self).item();
}

// Numbers of no dimension may come from the host, as on every device.
void require_one_device(const c10::OperatorHandle& op,
                        const torch::jit::Stack& stack) {
  const size_t arguments = op.schema().arguments().size();
  std::string places;
  bool here = false, elsewhere = false;
  const auto see = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    if (tensor.device().type() == kKind) {
      here = true;
    } else if (tensor.dim() > 0) {
      elsewhere = true;
    }
  };
  for (const c10::IValue& value : torch::jit::last(stack, arguments)) {
    if (value.isTensor()) see(value.toTensor());
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) see(tensor);
    }
    if (!value.isOptionalTensorList()) continue;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      if (tensor) see(*tensor);
    }
  }
  TORCH_CHECK(!here || !elsewhere, op.schema().name(),
              ": its tensors lie on two devices");
}

// A tensor is named by what wrote it last.
void name_what_it_writes(const c10::OperatorHandle& op,
                         const torch::jit::Stack& stack) {
  const auto& arguments = op.schema().arguments();
  const auto values = torch::jit::last(stack, arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto* alias = arguments[i].alias_info();
    if (alias == nullptr || !alias->isWrite() || !values[i].isTensor())
      continue;
    const at::Tensor& tensor = values[i].toTensor();
    if (tensor.device().type() != kKind || tensor.storage().nbytes() == 0) {
      continue;
    }
    const std::lock_guard lock(mutex());
    block_of(tensor.storage().data())->second.made_by = op.schema().name();
  }
}

void run_on_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  require_one_device(op, *stack);
  name_what_it_writes(op, *stack);
  count(op.schema().name());
  const Within here(op.schema().name());
  at::native::cpu_fallback(op, stack);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}
at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size,
                      c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  return at::native::as_strided_tensorimpl(
      self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
      offset ? std::optional(offset->expect_int()) : std::nullopt);
}
at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size,
                         c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size),
                                    C10_AS_INTARRAYREF_SLOW(stride));
}
const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size,
                         std::optional<at::MemoryFormat> format) {
  return at::native::resize_(self, C10_AS_INTARRAYREF_SLOW(size), format);
}
at::Tensor& set_storage(at::Tensor& self, at::Storage source,
                        c10::SymInt offset, c10::SymIntArrayRef size,
                        c10::SymIntArrayRef stride) {
  return at::cpu::set_(self, std::move(source), offset.expect_int(),
                       C10_AS_INTARRAYREF_SLOW(size),
                       C10_AS_INTARRAYREF_SLOW(stride));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(
      torch::CppFunction::makeFromBoxedFunction<&run_on_the_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("as_strided", &as_strided);
  library.impl("view", &view);
  library.impl("_reshape_alias", &reshape_alias);
  library.impl("unfold", &at::native::unfold);
  library.impl("resize_", &resize);
  library.impl("set_.source_Storage_storage_offset", &set_storage);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
}

// ---- registration

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kKind; }
  c10::Device exchangeDevice(c10::Device) const override {
    return the_device();
  }
  c10::Device getDevice() const override { return the_device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  static c10::Stream stream() {
    return c10::Stream(c10::Stream::DEFAULT, the_device());
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override {
    return 0;
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage,
                              size_t bytes) const override {
    storage.set_data_ptr_noswap(memory.allocate(bytes));
    storage.set_nbytes(bytes);
  }
};

void install() {
  c10::register_privateuse1_backend("pretend");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  c10::SetAllocator(kKind, &memory);
  struct sigaction action = {};
  action.sa_sigaction = &name_the_tensor;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace

at::Device pretend_device() {
  static std::once_flag once;
  std::call_once(once, &install);
  return the_device();
}

std::string DeviceCounts::line() const {
  return fmt::format(
      "{} operators, {} items, {} copies to the host, {} to the device",
      operators, items, to_host, to_device);
}

void begin_counting() {
  const std::lock_guard lock(mutex());
  counts = {};
}

DeviceCounts counted() {
  const std::lock_guard lock(mutex());
  return counts;
}

}  // namespace annuli::test
