#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/gguf_types.h"

// A GGUF file, version 3, little-endian (ggml's docs/gguf.md), as far as it
// describes itself: its keys and where its tensors lie. It knows no model.
//
// Opening checks all that the format promises, and any breach is a UserError of
// one line that names the file and the fault: magic, version, byte order, every
// count and length against the bytes that are left, types, keys and tensors
// given twice, shapes whose product overflows or whose rows do not fill blocks,
// offsets that are not the running sum (holes, overlaps), an alignment that is
// no power of two, data that is cut short, bytes left over. What opens is safe
// to read.
//
// State: views of the bytes, which must outlive it. Nothing is copied but what
// has names.
namespace annuli::gguf {

// The value of a key. What asks for another kind than it has gets nothing.
struct Value {
  ValueType type = ValueType::kUint32;  // of an array: that of its elements
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;

  std::optional<int64_t> whole() const;  // of any integer type
  std::optional<double> number() const;  // of any number type
  std::optional<bool> flag() const;
  std::optional<std::string_view> text() const;
  std::optional<std::vector<std::string_view>> texts() const;
  std::optional<std::vector<double>> numbers() const;  // exact below 2^53
};

struct Tensor {
  std::string name;
  Type type = Type::kF32;
  std::vector<int64_t> shape;  // outermost first, as everywhere here
  int64_t offset = 0;          // from the file's start
  int64_t bytes = 0;
};

class File {
 public:
  // `path`: for messages.
  File(std::span<const std::byte> bytes, std::string path);

  const std::string& path() const { return path_; }
  const std::map<std::string, Value, std::less<>>& values() const {
    return values_;
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* find_tensor(std::string_view name) const;  // or null
  std::span<const std::byte> data_of(const Tensor& tensor) const;

  const Value* find(std::string_view key) const;  // or null
  // UserError where the key is not there (without `otherwise`) or holds
  // something else.
  int64_t whole(std::string_view key) const;
  int64_t whole(std::string_view key, int64_t otherwise) const;
  double number(std::string_view key) const;
  double number(std::string_view key, double otherwise) const;
  bool flag(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;

 private:
  class Reader;

  const Value& required(std::string_view key) const;
  [[noreturn]] void refuse(std::string_view key, const char* expected) const;

  std::string path_;
  std::span<const std::byte> bytes_;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

// A UserError that names the file, for whoever reads a model out of it.
template <typename... Args>
[[noreturn]] void refuse(const File& file, fmt::format_string<Args...> format,
                         Args&&... args) {
  user_error("reading {}: {}", file.path(),
             fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace annuli::gguf

namespace annuli {

// Whether a file begins as GGUF does, whatever it is called.
bool is_gguf_file(const std::filesystem::path& path);

}  // namespace annuli
