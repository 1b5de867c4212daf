#include "annuli/checkpoint/pickle_reader.h"

#include <bit>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

using enum PickleKind;

constexpr size_t kMaxNodes = 2'000'000;
// Tensors can share one shape or key; each gets a copy of its own, so both are
// short.
constexpr size_t kMaxDimensions = 16;
constexpr size_t kMaxKey = 64;
constexpr uint32_t kMark = 0xffffffff;  // on the stack, in place of a node

// The machine of the pickle: a stack of nodes and a memo.
class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  PickleDocument run() {
    while (!stopped_) step(static_cast<unsigned char>(take(1)[0]));
    return std::move(document_);
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    user_error(
        "reading {}: its pickle {} (byte {}); expected a dict of "
        "tensors and plain values",
        path_, what, at_);
  }

  std::string_view take(size_t size) {
    if (size > bytes_.size() - at_) damaged("ends too early");
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += size;
    return {begin, size};
  }

  std::string utf8(std::string_view text) const {
    std::string result(text);
    try {
      (void)Json(result).dump();
    } catch (const Json::exception&) {
      damaged("holds a string that is not UTF-8");
    }
    return result;
  }

  uint64_t little_endian(size_t size) {
    const std::string_view text = take(size);
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(text[i]);
    }
    return value;
  }

  std::string line() {
    const auto rest =
        std::string_view(reinterpret_cast<const char*>(bytes_.data()) + at_,
                         bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) damaged("ends within a name");
    std::string text(rest.substr(0, end));
    at_ += end + 1;
    return text;
  }

  // Signed, up to 8 bytes.
  int64_t long_integer() {
    const auto size = little_endian(1);
    if (size > 8) damaged("holds an integer beyond 64 bits");
    if (size == 0) return 0;
    const uint64_t value = little_endian(size);
    const int unused = 64 - 8 * static_cast<int>(size);
    return static_cast<int64_t>(value << unused) >> unused;
  }

  double big_endian_double() {
    uint64_t bits = 0;
    for (const char c : take(8)) {
      bits = bits << 8 | static_cast<unsigned char>(c);
    }
    return std::bit_cast<double>(bits);
  }

  uint32_t push(PickleNode node) {
    if (document_.nodes.size() >= kMaxNodes) damaged("has too many values");
    const auto index = static_cast<uint32_t>(document_.nodes.size());
    document_.nodes.push_back(std::move(node));
    stack_.push_back(index);
    return index;
  }
  void push_empty(PickleKind kind) { push({.kind = kind}); }
  void push_integer(int64_t value, PickleKind kind = kInteger) {
    push({.kind = kind, .integer = value});
  }

  uint32_t pop() {
    if (stack_.empty() || stack_.back() == kMark) {
      damaged("takes from an empty stack");
    }
    const uint32_t node = stack_.back();
    stack_.pop_back();
    return node;
  }

  std::vector<uint32_t> pop_to_mark() {
    std::vector<uint32_t> items;
    size_t begin = stack_.size();
    while (begin > 0 && stack_[begin - 1] != kMark) --begin;
    if (begin == 0) damaged("has no mark where one is needed");
    items.assign(stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }

  PickleNode& top(PickleKind kind) {
    if (stack_.empty() || stack_.back() == kMark ||
        document_.nodes[stack_.back()].kind != kind) {
      damaged("adds to something that is no container");
    }
    return document_.nodes[stack_.back()];
  }

  void append(PickleKind kind, const std::vector<uint32_t>& items) {
    if (kind == kDict && items.size() % 2 != 0) damaged("has a key alone");
    std::vector<uint32_t>& target = top(kind).items;
    target.insert(target.end(), items.begin(), items.end());
  }

  void push_tuple(size_t size) {
    PickleNode tuple{.kind = kTuple};
    tuple.items.resize(size);
    for (size_t i = size; i-- > 0;) tuple.items[i] = pop();
    push(std::move(tuple));
  }

  void remember(uint64_t slot) {
    const uint32_t node = pop();
    memo_[slot] = node;
    stack_.push_back(node);
  }

  void recall(uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) damaged("recalls what it never stored");
    stack_.push_back(found->second);
  }

  const PickleNode& node(uint32_t index) const {
    return document_.nodes[index];
  }

  void push_global() {
    std::string module = line();
    push({.kind = kGlobal, .text = module + " " + line()});
  }

  // ('storage', torch.FloatStorage, key, device, number of elements)
  void push_storage() {
    const PickleNode& id = node(pop());
    if (id.kind != kTuple || id.items.size() != 5) {
      damaged("has a storage of an unknown kind");
    }
    const PickleNode& type = node(id.items[1]);
    const PickleNode& key = node(id.items[2]);
    const PickleNode& numel = node(id.items[4]);
    if (node(id.items[0]).text != "storage" || type.kind != kGlobal ||
        key.kind != kString || key.text.size() > kMaxKey ||
        numel.kind != kInteger || numel.integer < 0) {
      damaged("has a storage of an unknown kind");
    }
    constexpr std::string_view kModule = "torch ";
    const auto dtype =
        type.text.starts_with(kModule)
            ? dtype_from_storage(
                  std::string_view(type.text).substr(kModule.size()))
            : std::nullopt;
    if (!dtype) damaged("has a storage of the unknown type " + type.text);
    push({.kind = kStorage,
          .integer = numel.integer,
          .dtype = *dtype,
          .text = key.text});
  }

  std::vector<int64_t> integers(const PickleNode& tuple) const {
    if (tuple.kind != kTuple) damaged("has a tensor without a shape");
    if (tuple.items.size() > kMaxDimensions) {
      damaged("has a tensor of too many dimensions");
    }
    std::vector<int64_t> values;
    for (const uint32_t item : tuple.items) {
      if (node(item).kind != kInteger) damaged("has a tensor with odd sizes");
      values.push_back(node(item).integer);
    }
    return values;
  }

  // (storage, offset, shape, strides, requires_grad, hooks[, metadata])
  void rebuild_tensor(const PickleNode& arguments) {
    if (arguments.items.size() != 6) damaged("has a tensor of odd arguments");
    const PickleNode& storage = node(arguments.items[0]);
    const PickleNode& offset = node(arguments.items[1]);
    if (storage.kind != kStorage || offset.kind != kInteger) {
      damaged("has a tensor without a storage");
    }
    PickleTensor tensor{.storage = storage.text,
                        .storage_numel = storage.integer,
                        .dtype = storage.dtype,
                        .storage_offset = offset.integer,
                        .shape = integers(node(arguments.items[2])),
                        .strides = integers(node(arguments.items[3]))};
    document_.tensors.push_back(std::move(tensor));
    push_integer(static_cast<int64_t>(document_.tensors.size()) - 1, kTensor);
  }

  // (tensor, requires_grad, hooks)
  void unwrap_parameter(const PickleNode& arguments) {
    if (arguments.items.size() != 3 ||
        node(arguments.items[0]).kind != kTensor) {
      damaged("has a parameter that is no tensor");
    }
    stack_.push_back(arguments.items[0]);
  }

  void reduce() {
    const uint32_t arguments = pop();
    const uint32_t callable = pop();
    const std::string& name = node(callable).text;
    if (node(callable).kind != kGlobal || node(arguments).kind != kTuple) {
      damaged("calls something that is no function");
    }
    if (name == "torch._utils _rebuild_tensor_v2") {
      rebuild_tensor(node(arguments));
    } else if (name == "torch._utils _rebuild_parameter") {
      unwrap_parameter(node(arguments));
    } else if (name == "collections OrderedDict" &&
               node(arguments).items.empty()) {
      push_empty(kDict);
    } else {
      damaged("calls " + name + ", which is not allowed");
    }
  }

  // An OrderedDict's attributes (a state_dict's _metadata) say nothing here.
  void build() {
    pop();
    top(kDict);
  }

  void stop() {
    document_.root = pop();
    if (!stack_.empty()) damaged("leaves values on the stack");
    stopped_ = true;
  }

  void step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:
        return check_protocol();
      case '.':
        return stop();
      case '(':
        return stack_.push_back(kMark);
      case 'N':
        return push_empty(kNone);
      case 0x88:
        return push_integer(1, kBool);
      case 0x89:
        return push_integer(0, kBool);
      case 'K':
        return push_integer(static_cast<int64_t>(little_endian(1)));
      case 'M':
        return push_integer(static_cast<int64_t>(little_endian(2)));
      case 'J':
        return push_integer(static_cast<int32_t>(little_endian(4)));
      case 0x8a:
        return push_integer(long_integer());
      default:
        return step_aggregate(opcode);
    }
  }

  void step_aggregate(unsigned char opcode) {
    switch (opcode) {
      case 'G':
        push({.kind = kReal, .real = big_endian_double()});
        return;
      case 'X': {
        const auto size = little_endian(4);
        push({.kind = kString, .text = utf8(take(size))});
        return;
      }
      case '}':
        return push_empty(kDict);
      case ']':
        return push_empty(kList);
      case ')':
        return push_tuple(0);
      case 0x85:
        return push_tuple(1);
      case 0x86:
        return push_tuple(2);
      case 0x87:
        return push_tuple(3);
      case 't': {
        push({.kind = kTuple, .items = pop_to_mark()});
        return;
      }
      case 'a':
        return append(kList, {pop()});
      case 'e':
        return append(kList, pop_to_mark());
      case 's': {
        const uint32_t value = pop();
        return append(kDict, {pop(), value});
      }
      case 'u':
        return append(kDict, pop_to_mark());
      default:
        return step_object(opcode);
    }
  }

  void step_object(unsigned char opcode) {
    switch (opcode) {
      case 'q':
        return remember(little_endian(1));
      case 'r':
        return remember(little_endian(4));
      case 'h':
        return recall(little_endian(1));
      case 'j':
        return recall(little_endian(4));
      case 'c':
        return push_global();
      case 'Q':
        return push_storage();
      case 'R':
        return reduce();
      case 'b':
        return build();
      default:
        damaged(fmt::format("has the unknown opcode 0x{:02x}", opcode));
    }
  }

  void check_protocol() {
    if (little_endian(1) != 2) damaged("is not of protocol 2");
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  size_t at_ = 0;
  bool stopped_ = false;
  PickleDocument document_;
  std::vector<uint32_t> stack_;
  std::unordered_map<uint64_t, uint32_t> memo_;
};

}  // namespace

const PickleNode* PickleDocument::find(const PickleNode& dict,
                                       const std::string& key) const {
  if (dict.kind != kDict) return nullptr;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleNode& name = at(dict.items[i]);
    if (name.kind == kString && name.text == key) {
      return &at(dict.items[i + 1]);
    }
  }
  return nullptr;
}

PickleDocument read_pickle(std::span<const std::byte> bytes,
                           const std::string& path) {
  return Machine(bytes, path).run();
}

}  // namespace annuli
