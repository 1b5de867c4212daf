#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "annuli/core/json.h"

// Reads the pickle inside a .pt file and executes nothing.
//
// Understood: the opcodes of protocol 2 that PyTorch uses for dicts, lists,
// tuples, strings, numbers, booleans, None and tensors. The only callables
// accepted are torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter
// and collections.OrderedDict; what they make is built here, they are not
// called. Everything else is a UserError.
//
// A document is an arena: nodes refer to each other by index, so that shared
// and even cyclic values (a pickle can state them) are harmless to hold.
namespace annuli {

enum class PickleKind {
  kNone,
  kBool,     // integer
  kInteger,  // integer
  kReal,     // real
  kString,   // text
  kList,     // items
  kTuple,    // items
  kDict,     // items: key, value, key, value ...
  kGlobal,   // text: "module name"
  kStorage,  // text: key, integer: number of elements, dtype
  kTensor,   // integer: index into `tensors`
};

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  int64_t integer = 0;
  double real = 0;
  at::ScalarType dtype = at::kFloat;
  std::string text{};
  std::vector<uint32_t> items{};
};

// A tensor as the pickle states it; nothing is checked against the data.
struct PickleTensor {
  std::string storage{};  // record "data/<storage>"
  int64_t storage_numel = 0;
  at::ScalarType dtype = at::kFloat;
  int64_t storage_offset = 0;  // elements
  std::vector<int64_t> shape{};
  std::vector<int64_t> strides{};
};

struct PickleDocument {
  std::vector<PickleNode> nodes;
  std::vector<PickleTensor> tensors;
  uint32_t root = 0;

  const PickleNode& at(uint32_t node) const { return nodes[node]; }
  // The value of a string key in a dict, or nullptr.
  const PickleNode* find(const PickleNode& dict, const std::string& key) const;
};

// `path` is for the messages.
PickleDocument read_pickle(std::span<const std::byte> bytes,
                           const std::string& path);

// A value without tensors as JSON; tuples become lists. UserError for
// tensors, keys that are not strings, and documents nested deeper than 100 or
// larger than a million values once shared parts are written out; 64 bytes of
// text count as one.
Json to_json(const PickleDocument& document, const PickleNode& node,
             const std::string& path);

}  // namespace annuli
