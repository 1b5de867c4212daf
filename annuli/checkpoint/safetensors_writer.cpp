#include <array>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/safetensors_filler.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/progress.h"

namespace annuli {
namespace {

constexpr size_t kAlignment = 8;

// Written by hand, not through a Json object, to keep the declared order.
std::string header_json(const std::vector<TensorEntry>& entries,
                        Metadata metadata) {
  metadata.try_emplace("format", "pt");
  std::string text = "{\"__metadata__\":" + Json(metadata).dump();
  std::set<std::string> names{"__metadata__"};
  int64_t begin = 0;
  for (const TensorEntry& entry : entries) {
    ANNULI_CHECK(names.insert(entry.name).second, "two tensors named {}",
                 entry.name);
    const int64_t end = begin + entry.bytes;
    const Json value = {{"dtype", dtype_name(entry.dtype)},
                        {"shape", entry.shape},
                        {"data_offsets", {begin, end}}};
    text += fmt::format(",{}:{}", Json(entry.name).dump(), value.dump());
    begin = end;
  }
  text += "}";
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(value >> shift & 0xff));
  }
  return bytes;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(fs::path path,
                                     std::vector<TensorEntry> entries,
                                     Metadata metadata)
    : file_(std::move(path)), entries_(std::move(entries)) {
  for (TensorEntry& entry : entries_) {
    const auto bytes = byte_size(entry.shape, entry.dtype);
    ANNULI_CHECK(bytes.has_value(), "{} is {}", entry.name,
                 to_string(entry.shape));
    entry.bytes = *bytes;
  }
  const std::string header = header_json(entries_, std::move(metadata));
  file_.write(little_endian(header.size()));
  file_.write(header);
}

void SafetensorsWriter::write(const at::Tensor& tensor) {
  ANNULI_CHECK(next_ < entries_.size(), "{} tensors were declared",
               entries_.size());
  const TensorEntry& entry = entries_[next_];
  ANNULI_CHECK(tensor.defined() && tensor.sizes() == entry.shape &&
                   tensor.scalar_type() == entry.dtype,
               "{} is not the tensor that was declared", entry.name);
  const at::Tensor data = tensor.detach().to(at::kCPU).contiguous();
  file_.write(data.const_data_ptr(), static_cast<size_t>(entry.bytes));
  ++next_;
}

void SafetensorsWriter::append(const void* data, int64_t bytes) {
  appended_ += bytes;
  file_.write(data, static_cast<size_t>(bytes));
  while (next_ < entries_.size() && entries_[next_].bytes <= appended_) {
    appended_ -= entries_[next_++].bytes;
  }
}

void SafetensorsWriter::finish() {
  ANNULI_CHECK(appended_ == 0, "{} bytes too many", appended_);
  ANNULI_CHECK(next_ == entries_.size(), "{} of {} tensors were written", next_,
               entries_.size());
  file_.commit();
}

void lay_out_safetensors(const fs::path& path,
                         const std::vector<TensorEntry>& entries,
                         Metadata metadata) {
  const std::string header = header_json(entries, std::move(metadata));
  write_file_atomically(path, little_endian(header.size()) + header);
  uint64_t bytes = sizeof(uint64_t) + header.size();
  for (const TensorEntry& entry : entries) bytes += entry.bytes;
  std::error_code error;
  fs::resize_file(path, bytes, error);
  if (error) user_error("writing {}: {}", path.string(), error.message());
}

void replace_in_header(const fs::path& path, std::string_view before,
                       std::string_view after) {
  ANNULI_CHECK(before.size() == after.size() && !before.empty(),
               "replacing {} bytes of a header by {}", before.size(),
               after.size());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::array<unsigned char, sizeof(uint64_t)> size_bytes{};
  file.read(reinterpret_cast<char*>(size_bytes.data()), size_bytes.size());
  uint64_t size = 0;
  for (size_t i = 0; i < size_bytes.size(); ++i) {
    size |= static_cast<uint64_t>(size_bytes[i]) << (8 * i);
  }
  std::string header(size, ' ');
  file.read(header.data(), std::ssize(header));
  const size_t at = header.find(before);
  ANNULI_CHECK(at != std::string::npos && header.rfind(before) == at,
               "{} stands once in the header of {}", before, path.string());
  file.seekp(static_cast<std::streamoff>(size_bytes.size() + at));
  file.write(after.data(), std::ssize(after));
  file.flush();
  if (!file)
    user_error("writing {}: its header cannot be changed", path.string());
  file.close();
  sync_file(path);
}

void write_safetensors(const fs::path& path,
                       const std::vector<NamedTensor>& tensors,
                       Metadata metadata) {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& tensor : tensors) {
    entries.push_back(entry_of(tensor));
  }
  Progress progress("writing " + path.filename().string(), total_bytes(entries),
                    ProgressUnit::kBytes);
  SafetensorsWriter writer(path, std::move(entries), std::move(metadata));
  for (const NamedTensor& tensor : tensors) {
    writer.write(tensor.tensor);
    progress.advance(static_cast<int64_t>(tensor.tensor.nbytes()));
  }
  writer.finish();
}

}  // namespace annuli
