#pragma once

#include <functional>
#include <string>
#include <vector>

#include "annuli/checkpoint/mapped_tensors.h"
#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"

// `.pt` files: PyTorch's zip format. Python's
// `torch.load(path, weights_only=True)` gives
//   {"format_version": 1, "config": {...}, ..., "model": {name: tensor, ...}}
// of plain dicts, lists, numbers and strings.
namespace annuli {

inline constexpr int64_t kPtFormatVersion = 1;

// Writes one, atomically. Tensors keep their order and are streamed out one by
// one; those that share their memory exactly share it in the file too, and are
// written once. `extra` is an object whose keys stand beside "model" and
// "config". Integers beyond int64 are written as decimal strings. A write that
// fails (a full disk) is a UserError and leaves the old file.
void write_pt(const fs::path& path, const std::vector<NamedTensor>& tensors,
              const Json& config, const Json& extra = Json::object());

// The same of tensors that are read when their turn comes, each once, in order.
// None shares its memory with another.
struct TensorsToRead {
  std::vector<TensorEntry> entries;
  std::function<at::Tensor(size_t i)> read;
};
void write_pt_of(const fs::path& path, const TensorsToRead& tensors,
                 const Json& config, const Json& extra = Json::object());

// Reads one: ours, or one that Python saved with the same dict. Nothing in the
// file is executed. Everything is checked on opening (the archive, the pickle
// and its checksum, every tensor's extent) and each fault is a UserError; the
// tensors' own checksums are not, so that opening costs no read of them.
//
// Corner cases: a tensor that is a strided view in Python (a transpose) is
// refused; byte order must be little endian.
class PtFile : public MappedTensors {
 public:
  explicit PtFile(fs::path path);

  const Json& config() const { return config_; }
  // All else at the top level: "format_version" and the writer's `extra`.
  const Json& extra() const { return extra_; }

 private:
  Json config_;
  Json extra_;
};

// Reads a state dict by itself, {name: tensor, ...}, as torch.save writes it
// into pytorch_model.bin and its shards: with the same guarantees. The format
// of PyTorch before 1.6 is refused with the way to convert it.
class StateDictFile : public MappedTensors {
 public:
  explicit StateDictFile(fs::path path);
};

}  // namespace annuli
