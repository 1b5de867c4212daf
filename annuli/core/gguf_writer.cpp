#include "annuli/core/gguf_writer.h"

#include <bit>
#include <concepts>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::gguf {
namespace {

static_assert(std::endian::native == std::endian::little);

int64_t aligned(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

void pad(AtomicFile& file) {
  const std::string zeros(
      static_cast<size_t>(aligned(file.position()) - file.position()), '\0');
  file.write(zeros);
}

}  // namespace

template <typename T>
void Writer::put(const T& value) {
  append(metadata_, value);
}

void Writer::put_text(std::string_view text) { append_text(metadata_, text); }

void Writer::put_key(std::string_view key, ValueType type) {
  put_text(key);
  put(type);
  ++keys_;
}

void Writer::add(std::string_view key, uint32_t value) {
  put_key(key, ValueType::kUint32);
  put(value);
}

void Writer::add(std::string_view key, float value) {
  put_key(key, ValueType::kFloat32);
  put(value);
}

void Writer::add(std::string_view key, bool value) {
  put_key(key, ValueType::kBool);
  put(static_cast<uint8_t>(value ? 1 : 0));
}

void Writer::add(std::string_view key, std::string_view value) {
  put_key(key, ValueType::kString);
  put_text(value);
}

template <typename T>
void Writer::put_list(std::string_view key, ValueType type,
                      const std::vector<T>& values) {
  put_key(key, ValueType::kArray);
  put(type);
  put(static_cast<uint64_t>(values.size()));
  for (const T& value : values) {
    if constexpr (std::same_as<T, std::string>) {
      put_text(value);
    } else {
      put(value);
    }
  }
}

void Writer::add(std::string_view key, const std::vector<std::string>& values) {
  put_list(key, ValueType::kString, values);
}

void Writer::add(std::string_view key, const std::vector<int32_t>& values) {
  put_list(key, ValueType::kInt32, values);
}

void Writer::add(std::string_view key, const std::vector<float>& values) {
  put_list(key, ValueType::kFloat32, values);
}

void Writer::add_tensor(std::string name, const std::vector<int64_t>& shape,
                        Type type, Produce produce) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  tensors_.push_back({.name = std::move(name),
                      .shape = shape,
                      .type = type,
                      .bytes = rows * bytes_of(type, shape.back()),
                      .produce = std::move(produce)});
}

std::string Writer::header() const {
  std::string out = "GGUF";
  append(out, kVersion);
  append(out, static_cast<uint64_t>(tensors_.size()));
  append(out, keys_);
  out += metadata_;
  int64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    append_text(out, tensor.name);
    append(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      append(out, static_cast<uint64_t>(tensor.shape[i]));
    }
    append(out, static_cast<uint32_t>(tensor.type));
    append(out, static_cast<uint64_t>(offset));
    offset += aligned(tensor.bytes);
  }
  return out;
}

int64_t Writer::file_bytes() const {
  int64_t bytes = aligned(std::ssize(header()));
  for (const Tensor& tensor : tensors_) bytes += aligned(tensor.bytes);
  return bytes;
}

void Writer::write(const fs::path& path) const {
  AtomicFile file(path);
  file.write(header());
  pad(file);
  for (const Tensor& tensor : tensors_) {
    const int64_t begin = file.position();
    tensor.produce(
        [&](const void* data, size_t size) { file.write(data, size); });
    ANNULI_CHECK(file.position() - begin == tensor.bytes,
                 "{} bytes of {}, expected {}", file.position() - begin,
                 tensor.name, tensor.bytes);
    pad(file);
  }
  file.commit();
}

}  // namespace annuli::gguf
