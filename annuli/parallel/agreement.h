#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

// What the processes of a c10d group (c10d_group.h) tell each other before each
// operation.
namespace annuli::parallel {

constexpr int64_t kAgreementBytes = 128;

enum class Kind : int64_t {
  kBarrier,
  kGather,
  kAllGather,
  kAllToAll,
  kExchange
};
const char* name_of(Kind kind);

// What all processes must call alike, but for the length of a text. Sent as it
// lies in memory.
struct Agreement {
  static constexpr size_t kMaxDims = 8;
  int64_t number = 0;
  int64_t kind = 0;
  int64_t type = 0;
  int64_t dims = 0;
  std::array<int64_t, kMaxDims> shape = {};
  int64_t text_bytes = 0;
  std::array<int64_t, 3> unused = {};

  bool same_call(const Agreement& other) const;
  std::string text() const;
};
static_assert(sizeof(Agreement) == kAgreementBytes);

// On the type and the shape of a tensor.
Agreement agreement(Kind kind, const at::Tensor& tensor);

}  // namespace annuli::parallel
