#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/file.h"

// safetensors files (github.com/huggingface/safetensors): 8 bytes N, little
// endian; N bytes of JSON; then the tensors, row-major and little endian,
// without holes.
namespace annuli {

using Metadata = std::map<std::string, std::string>;

// Reads one. Opening checks everything the format promises, and any breach is
// a UserError that names the file and the fault: the header's length against
// the file's, duplicate keys, element types, products that overflow, sizes
// that differ from shapes, holes, overlaps, bytes left over. What opens is
// safe to read. `entries` are in the order of their data.
class SafetensorsFile : public MappedTensors {
 public:
  explicit SafetensorsFile(fs::path path);

  const Metadata& metadata() const { return metadata_; }

 private:
  void check_layout(std::vector<TensorEntry> entries, int64_t data_start);

  Metadata metadata_;
};

// Writes one, tensor by tensor, so that no more than one is ever held.
//
// All names, types and shapes are declared first; then `write` takes the
// tensors in that order and checks each against its declaration. The file
// appears, whole, with `finish`; a writer destroyed before leaves nothing.
// Metadata gains "format": "pt", which transformers asks for. The header is
// padded to 8 bytes, so data is aligned if no type is followed by a wider one.
class SafetensorsWriter {
 public:
  SafetensorsWriter(fs::path path, std::vector<TensorEntry> entries,
                    Metadata metadata = {});

  void write(const at::Tensor& tensor);
  // The next bytes of the tensors' data, cut anywhere: for tensors that are
  // never whole in memory. Either all of a file's tensors or none.
  void append(const void* data, int64_t bytes);
  // Syncs, and the file appears.
  void finish();

 private:
  AtomicFile file_;
  std::vector<TensorEntry> entries_;
  size_t next_ = 0;
  int64_t appended_ = 0;  // bytes
};

// Puts `after` in the place of `before`, which is as long and stands once in
// the header: for metadata that is known only when the tensors are written.
// Synced.
void replace_in_header(const fs::path& path, std::string_view before,
                       std::string_view after);

// The whole list at once, for when it is already in memory.
void write_safetensors(const fs::path& path,
                       const std::vector<NamedTensor>& tensors,
                       Metadata metadata = {});

}  // namespace annuli
