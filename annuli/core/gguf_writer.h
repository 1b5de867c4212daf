#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/core/gguf_types.h"

// A GGUF file, version 3 (ggml's docs/gguf.md): metadata, a list of tensors,
// and their data, each at a multiple of 32 bytes. Little-endian.
//
// Metadata and tensors are added first, in the order of the file; `write` then
// asks for the data tensor by tensor, so that no more than a piece of one need
// be in memory. The file is there whole or not at all.
namespace annuli::gguf {

class Writer {
 public:
  // Receives bytes of a tensor, in order.
  using Sink = std::function<void(const void* data, size_t size)>;
  using Produce = std::function<void(const Sink& sink)>;

  void add(std::string_view key, uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, const char* value) {
    add(key, std::string_view(value));
  }
  void add(std::string_view key, const std::vector<std::string>& values);
  void add(std::string_view key, const std::vector<int32_t>& values);
  void add(std::string_view key, const std::vector<float>& values);

  // `shape`: outermost first, as everywhere here; the file has it the other way
  // round.
  void add_tensor(std::string name, const std::vector<int64_t>& shape,
                  Type type, Produce produce);

  // What stands before the data: all that the file says of itself.
  std::string header() const;

  // How large the file will be.
  int64_t file_bytes() const;

  void write(const fs::path& path) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    Type type;
    int64_t bytes;
    Produce produce;
  };

  template <typename T>
  void put(const T& value);
  void put_text(std::string_view text);
  void put_key(std::string_view key, ValueType type);
  template <typename T>
  void put_list(std::string_view key, ValueType type,
                const std::vector<T>& values);

  std::string metadata_;
  uint64_t keys_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace annuli::gguf
