#include "annuli/core/gguf_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli::gguf {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kMostDimensions = 4;  // as ggml
constexpr uint64_t kLongestName = 63;    // of a tensor, as ggml
constexpr uint64_t kLongestKey = 65535;  // as the format says
constexpr int64_t kLargestAlignment = 1 << 20;
constexpr size_t kLeastKey = 8 + 1 + 4 + 1;  // bytes of a key
constexpr size_t kLeastTensor = 8 + 1 + 4 + 8 + 4 + 8;

// Bytes of a number; 0 for what is none.
size_t size_of(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

template <typename T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

std::string_view text_at(const std::byte* data, uint64_t length) {
  return {reinterpret_cast<const char*>(data), length};
}

std::optional<int64_t> whole_at(ValueType type, const std::byte* data) {
  switch (type) {
    case ValueType::kUint8:
      return load<uint8_t>(data);
    case ValueType::kInt8:
      return load<int8_t>(data);
    case ValueType::kUint16:
      return load<uint16_t>(data);
    case ValueType::kInt16:
      return load<int16_t>(data);
    case ValueType::kUint32:
      return load<uint32_t>(data);
    case ValueType::kInt32:
      return load<int32_t>(data);
    case ValueType::kInt64:
      return load<int64_t>(data);
    case ValueType::kUint64: {
      const auto value = load<uint64_t>(data);
      if (!std::in_range<int64_t>(value)) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> number_at(ValueType type, const std::byte* data) {
  if (type == ValueType::kFloat32) return load<float>(data);
  if (type == ValueType::kFloat64) return load<double>(data);
  if (const auto value = whole_at(type, data)) {
    return static_cast<double>(*value);
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> Value::whole() const {
  return is_array ? std::nullopt : whole_at(type, bytes.data());
}

std::optional<double> Value::number() const {
  return is_array ? std::nullopt : number_at(type, bytes.data());
}

std::optional<bool> Value::flag() const {
  if (is_array || type != ValueType::kBool) return std::nullopt;
  return bytes[0] != std::byte{0};
}

std::optional<std::string_view> Value::text() const {
  if (is_array || type != ValueType::kString) return std::nullopt;
  return text_at(bytes.data(), bytes.size());
}

std::optional<std::vector<std::string_view>> Value::texts() const {
  if (!is_array || type != ValueType::kString) return std::nullopt;
  std::vector<std::string_view> texts;
  texts.reserve(count);
  const std::byte* at = bytes.data();
  for (uint64_t i = 0; i < count; ++i) {
    const auto length = load<uint64_t>(at);
    texts.push_back(text_at(at + sizeof(length), length));
    at += sizeof(length) + length;
  }
  return texts;
}

std::optional<std::vector<double>> Value::numbers() const {
  if (!is_array) return std::nullopt;
  std::vector<double> numbers;
  numbers.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto value = number_at(type, bytes.data() + i * size_of(type));
    if (!value) return std::nullopt;
    numbers.push_back(*value);
  }
  return numbers;
}

// Goes through the file once, from front to back.
class File::Reader {
 public:
  explicit Reader(File& file) : file_(file) {}

  void run() {
    read_version();
    const uint64_t tensors = count_of("tensors", kLeastTensor);
    const uint64_t keys = count_of("keys", kLeastKey);
    for (uint64_t i = 0; i < keys; ++i) read_key();
    for (uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_tensors();
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format,
                           Args&&... args) const {
    gguf::refuse(file_, format, std::forward<Args>(args)...);
  }

  size_t left() const { return file_.bytes_.size() - at_; }

  const std::byte* take(uint64_t size, const std::string& what) {
    if (size > left()) {
      refuse(
          "{} of {} bytes where {} are left; the file is truncated or "
          "damaged",
          what, size, left());
    }
    const std::byte* data = file_.bytes_.data() + at_;
    at_ += size;
    return data;
  }

  template <typename T>
  T number(const std::string& what) {
    return load<T>(take(sizeof(T), what));
  }

  void read_version() {
    if (text_at(take(kMagic.size(), "the magic"), kMagic.size()) != kMagic) {
      refuse("it does not begin with GGUF");
    }
    const auto version = number<uint32_t>("the version");
    if (version == __builtin_bswap32(kVersion)) {
      refuse(
          "its numbers are big-endian, expected little-endian; convert it "
          "with the gguf package's gguf_convert_endian.py");
    }
    if (version != kVersion) {
      refuse(
          "found version {} of GGUF, expected {}; convert the model again "
          "with a newer llama.cpp",
          version, kVersion);
    }
  }

  // `least`: bytes that one of them takes.
  uint64_t count_of(const char* what, size_t least) {
    const auto count = number<uint64_t>("the header");
    if (count > left() / least) {
      refuse(
          "{} {} in a file that has {} bytes left; it is truncated or "
          "damaged",
          count, what, left());
    }
    return count;
  }

  std::string name(const char* what, uint64_t longest) {
    const auto length = number<uint64_t>(what);
    if (length == 0 || length > longest) {
      refuse("{} of {} bytes, expected 1 to {}", what, length, longest);
    }
    return std::string(text_at(take(length, what), length));
  }

  ValueType value_type(const std::string& key, const char* what) {
    const auto number = this->number<uint32_t>("a type");
    if (number > static_cast<uint32_t>(ValueType::kFloat64)) {
      refuse("key {} has {} {}, expected 0 to 12", quote(key), what, number);
    }
    return static_cast<ValueType>(number);
  }

  void read_key() {
    std::string key = name("a key", kLongestKey);
    Value value{.type = value_type(key, "the type")};
    if (value.type == ValueType::kArray) {
      value.is_array = true;
      value.type = value_type(key, "an array of type");
      if (value.type == ValueType::kArray) {
        refuse("key {} is an array of arrays, which no model has", quote(key));
      }
      value.count = number<uint64_t>("the length of an array");
    }
    read_value(key, value);
    const std::string name = quote(key);
    if (!file_.values_.emplace(std::move(key), value).second) {
      refuse("key {} is there twice", name);
    }
  }

  void read_value(const std::string& key, Value& value) {
    const std::string what = fmt::format("the value of key {}", quote(key));
    const size_t begin = at_;
    if (value.type == ValueType::kString && !value.is_array) {
      const auto length = number<uint64_t>(what);
      value.bytes = {take(length, what), length};
      return;
    }
    const size_t size = size_of(value.type);
    if (value.count > left() / (size == 0 ? sizeof(uint64_t) : size)) {
      refuse(
          "{} has {} elements where {} bytes are left; the file is "
          "truncated or damaged",
          what, value.count, left());
    }
    if (value.type == ValueType::kString) {
      for (uint64_t i = 0; i < value.count; ++i) {
        take(number<uint64_t>(what), what);
      }
    } else {
      take(value.count * size, what);
    }
    value.bytes = file_.bytes_.subspan(begin, at_ - begin);
    if (value.type == ValueType::kBool) check_flags(key, value);
  }

  void check_flags(const std::string& key, const Value& value) const {
    for (const std::byte flag : value.bytes) {
      if (flag <= std::byte{1}) continue;
      refuse("key {} is {}, expected true or false", quote(key),
             std::to_integer<int>(flag));
    }
  }

  void read_tensor() {
    Tensor tensor{.name = name("a tensor's name", kLongestName)};
    const std::string name = quote(tensor.name);
    const auto dimensions = number<uint32_t>("a tensor");
    if (dimensions == 0 || dimensions > kMostDimensions) {
      refuse("tensor {} has {} dimensions, expected 1 to {}", name, dimensions,
             kMostDimensions);
    }
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = number<uint64_t>("a tensor");
      if (size == 0 || !std::in_range<int64_t>(size)) {
        refuse("tensor {} has a dimension of {}", name, size);
      }
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.type = type_of(name);
    tensor.bytes = size_of_data(tensor, name);
    const auto offset = number<uint64_t>("a tensor");
    if (!std::in_range<int64_t>(offset)) {
      refuse("tensor {} begins at byte {}", name, offset);
    }
    tensor.offset = static_cast<int64_t>(offset);
    if (!file_.index_.emplace(tensor.name, file_.tensors_.size()).second) {
      refuse("tensor {} is there twice", name);
    }
    file_.tensors_.push_back(std::move(tensor));
  }

  Type type_of(const std::string& name) {
    const auto number = this->number<uint32_t>("a tensor");
    const TypeTraits* traits = find_type(number);
    if (traits != nullptr && traits->bytes > 0) return traits->type;
    refuse(
        "tensor {} is of type {}, expected f32, f16, bf16, q8_0, q4_0, q4_K, "
        "q5_K or q6_K; convert the model to one of them first",
        name, traits ? traits->name : fmt::format("{}", number));
  }

  int64_t size_of_data(const Tensor& tensor, const std::string& name) const {
    const TypeTraits& traits = traits_of(tensor.type);
    if (tensor.shape.back() % traits.block != 0) {
      refuse("tensor {} has rows of {}, which do not fill blocks of {} of {}",
             name, tensor.shape.back(), traits.block, traits.name);
    }
    // Eight bytes a number leave room for whoever widens it.
    int64_t room = 8;
    for (const int64_t size : tensor.shape) {
      if (__builtin_mul_overflow(room, size, &room)) {
        refuse("tensor {} has an impossible shape", name);
      }
    }
    return bytes_of(tensor.type, room / 8);
  }

  int64_t alignment() const {
    const int64_t value = file_.whole("general.alignment", kAlignment);
    const bool fits = value > 0 && value <= kLargestAlignment;
    if (!fits || !std::has_single_bit(static_cast<uint64_t>(value))) {
      refuse("general.alignment is {}, expected a power of two up to {}", value,
             kLargestAlignment);
    }
    return value;
  }

  void place_tensors() {
    const int64_t step = alignment();
    const auto aligned = [&](int64_t bytes) {
      return (bytes + step - 1) / step * step;
    };
    const auto size = static_cast<int64_t>(file_.bytes_.size());
    const int64_t start = aligned(static_cast<int64_t>(at_));
    int64_t end = 0;  // of the data so far, aligned
    int64_t last = 0;
    for (Tensor& tensor : file_.tensors_) {
      if (tensor.offset != end) {
        refuse("tensor {} begins at byte {} of the data, expected {}: {}",
               quote(tensor.name), tensor.offset, end,
               tensor.offset < end ? "tensors overlap" : "there is a hole");
      }
      if (start > size || tensor.bytes > size - start - end) {
        refuse("tensor {} ends beyond the file; it is truncated",
               quote(tensor.name));
      }
      last = end + tensor.bytes;
      end = aligned(last);
      tensor.offset += start;
    }
    if (size - start > end) {
      refuse("{} bytes after the last tensor", size - start - last);
    }
  }

  File& file_;
  size_t at_ = 0;
};

File::File(std::span<const std::byte> bytes, std::string path)
    : path_(std::move(path)), bytes_(bytes) {
  Reader(*this).run();
}

const Tensor* File::find_tensor(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> File::data_of(const Tensor& tensor) const {
  return bytes_.subspan(static_cast<size_t>(tensor.offset),
                        static_cast<size_t>(tensor.bytes));
}

const Value* File::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const Value& File::required(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) user_error("reading {}: it has no key {}", path_, key);
  return *value;
}

void File::refuse(std::string_view key, const char* expected) const {
  user_error("reading {}: key {} holds something else than {}", path_, key,
             expected);
}

int64_t File::whole(std::string_view key) const {
  if (const auto value = required(key).whole()) return *value;
  refuse(key, "a whole number");
}

int64_t File::whole(std::string_view key, int64_t otherwise) const {
  return find(key) ? whole(key) : otherwise;
}

double File::number(std::string_view key) const {
  const auto value = required(key).number();
  if (value && std::isfinite(*value)) return *value;
  refuse(key, "a finite number");
}

double File::number(std::string_view key, double otherwise) const {
  return find(key) ? number(key) : otherwise;
}

bool File::flag(std::string_view key, bool otherwise) const {
  if (!find(key)) return otherwise;
  if (const auto value = required(key).flag()) return *value;
  refuse(key, "true or false");
}

std::string File::text(std::string_view key, std::string_view otherwise) const {
  if (!find(key)) return std::string(otherwise);
  if (const auto value = required(key).text()) return std::string(*value);
  refuse(key, "a text");
}

std::vector<std::string_view> File::texts(std::string_view key) const {
  if (auto values = required(key).texts()) return *std::move(values);
  refuse(key, "a list of texts");
}

std::vector<double> File::numbers(std::string_view key) const {
  if (auto values = required(key).numbers()) return *std::move(values);
  refuse(key, "a list of numbers");
}

}  // namespace annuli::gguf

namespace annuli {

bool is_gguf_file(const std::filesystem::path& path) {
  std::string start(gguf::kMagic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), std::ssize(start));
  return start == gguf::kMagic;
}

}  // namespace annuli
