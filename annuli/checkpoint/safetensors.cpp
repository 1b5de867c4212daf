#include "annuli/checkpoint/safetensors.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "annuli/config/quantization.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = 100'000'000;  // as the reference reader's
constexpr int kMaxDepth = 4;                  // {"name": {"shape": [...]}} is 3

std::string_view header_text(std::span<const std::byte> bytes,
                             const std::string& path) {
  if (bytes.size() < kLengthBytes) {
    user_error(
        "reading {}: {} bytes, expected a safetensors file of at least "
        "{}",
        path, bytes.size(), kLengthBytes);
  }
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) {
    length = length << 8 | std::to_integer<uint64_t>(bytes[i]);
  }
  const uint64_t rest = bytes.size() - kLengthBytes;
  if (length > kMaxHeader) {
    user_error(
        "reading {}: a header of {} bytes, expected at most {}; is it a "
        "safetensors file?",
        path, length, kMaxHeader);
  }
  if (length > rest) {
    user_error(
        "reading {}: a header of {} bytes in a file that has {} left; "
        "it is truncated",
        path, length, rest);
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  if (length == 0 || text[0] != '{') {
    user_error(
        "reading {}: the header does not begin with '{{'; is it a "
        "safetensors file?",
        path);
  }
  return {text, length};
}

// Parses the header and refuses what nlohmann would let pass: a key given
// twice (it keeps the last) and deep nesting.
Json parse_header(std::string_view text, const std::string& path) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      user_error("reading {}: the header is nested too deeply", path);
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      if (!keys.back().insert(key).second) {
        user_error("reading {}: the header names '{}' twice", path, key);
      }
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    user_error("reading {}: the header is not JSON ({})", path,
               reason_of(error));
  }
}

const Json& field(const Json& value, const char* key, const std::string& name,
                  const std::string& path) {
  if (!value.is_object() || !value.contains(key)) {
    user_error("reading {}: tensor '{}' has no {}", path, name, key);
  }
  return value.at(key);
}

// A list of whole numbers that fit 63 bits.
std::vector<int64_t> sizes(const Json& list, const char* key,
                           const std::string& name, const std::string& path) {
  const auto fits = [](const Json& item) {
    return item.is_number_unsigned() && fits_in<int64_t>(item);
  };
  if (!list.is_array() || !std::ranges::all_of(list, fits)) {
    user_error("reading {}: tensor '{}' has {} {}, expected a list of sizes",
               path, name, key, list.dump().substr(0, 80));
  }
  return list.get<std::vector<int64_t>>();
}

// Types of 8 bits and less hold codes that mean nothing without their scales.
[[noreturn]] void refuse_dtype(const std::string& name, const Json& dtype,
                               const std::string& path) {
  const std::string text = dtype.is_string() ? dtype.get<std::string>() : "";
  if (text == "I8" || text.starts_with("F8_") || text.starts_with("F6_") ||
      text.starts_with("F4")) {
    user_error("reading {}: {}", path,
               quantized(fmt::format("tensor '{}' is {}", name, text)));
  }
  user_error(
      "reading {}: tensor '{}' has dtype {}, expected one of F64, F32, F16, "
      "BF16, I64, I32, U8, BOOL",
      path, name, dtype.dump());
}

// Offsets stay relative to the data's start here.
TensorEntry parse_entry(const std::string& name, const Json& value,
                        const std::string& path) {
  TensorEntry entry;
  entry.name = name;
  const Json& dtype = field(value, "dtype", name, path);
  const auto known = dtype.is_string()
                         ? dtype_from_name(dtype.get_ref<const std::string&>())
                         : std::nullopt;
  if (!known) refuse_dtype(name, dtype, path);
  entry.dtype = *known;
  entry.shape = sizes(field(value, "shape", name, path), "shape", name, path);
  const auto bytes = byte_size(entry.shape, entry.dtype);
  if (!bytes) {
    user_error("reading {}: tensor '{}' has the impossible shape {}", path,
               name, to_string(entry.shape));
  }
  entry.bytes = *bytes;
  const auto range = sizes(field(value, "data_offsets", name, path),
                           "data_offsets", name, path);
  if (range.size() != 2 || range[0] > range[1]) {
    user_error(
        "reading {}: tensor '{}' has data_offsets {}, expected [begin, "
        "end]",
        path, name, to_string(range));
  }
  if (range[1] - range[0] != entry.bytes) {
    user_error(
        "reading {}: tensor '{}' has {} bytes of data, expected {} for "
        "{} {}",
        path, name, range[1] - range[0], entry.bytes, dtype_name(entry.dtype),
        to_string(entry.shape));
  }
  entry.offset = range[0];
  return entry;
}

Metadata parse_metadata(const Json& value, const std::string& path) {
  const auto is_string = [](const Json& item) { return item.is_string(); };
  if (!value.is_object() || !std::ranges::all_of(value, is_string)) {
    user_error("reading {}: __metadata__ must map strings to strings", path);
  }
  return value.get<Metadata>();
}

}  // namespace

SafetensorsFile::SafetensorsFile(fs::path file)
    : MappedTensors(std::move(file)) {
  const std::string path = this->path().string();
  const std::string_view text = header_text(bytes(), path);
  const Json header = parse_header(text, path);
  std::vector<TensorEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(value, path);
    } else {
      entries.push_back(parse_entry(name, value, path));
    }
  }
  check_layout(std::move(entries),
               kLengthBytes + static_cast<int64_t>(text.size()));
}

void SafetensorsFile::check_layout(std::vector<TensorEntry> entries,
                                   int64_t data_start) {
  // An empty tensor sorts before the one that begins where it stands.
  std::ranges::sort(entries, {}, [](const TensorEntry& entry) {
    return std::pair(entry.offset, entry.bytes);
  });
  const int64_t size = static_cast<int64_t>(bytes().size()) - data_start;
  int64_t end = 0;
  for (TensorEntry& entry : entries) {
    if (entry.offset != end) {
      user_error("reading {}: tensor '{}' begins at byte {}, expected {}: {}",
                 path().string(), entry.name, entry.offset, end,
                 entry.offset < end ? "tensors overlap" : "there is a hole");
    }
    if (entry.bytes > size - end) {
      user_error(
          "reading {}: tensor '{}' ends at byte {} of {}; the file is "
          "truncated",
          path().string(), entry.name, end + entry.bytes, size);
    }
    end += entry.bytes;
    entry.offset += data_start;
    ANNULI_CHECK(add(std::move(entry)), "the header's keys are unique");
  }
  if (end != size) {
    user_error("reading {}: {} bytes after the last tensor", path().string(),
               size - end);
  }
}

}  // namespace annuli
