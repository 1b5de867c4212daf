#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/checkpoint/safetensors.h"

// A safetensors file that several processes write together, into one file
// system: one of them lays it out, then each fills in its own tensors. The
// bytes are those that SafetensorsWriter writes.
//
// The file is there, with its full length, before anything is in it: only for a
// folder that appears as a whole (output_folder.h). Failures are UserErrors.
namespace annuli {

// Header, and room for the tensors' data. `bytes` of the entries is set.
void lay_out_safetensors(const fs::path& path,
                         const std::vector<TensorEntry>& entries,
                         Metadata metadata = {});

// One of those who fill such a file.
class SafetensorsFiller {
 public:
  // `entries` as it was laid out with, `bytes` set.
  SafetensorsFiller(fs::path path, const std::vector<TensorEntry>& entries);
  ~SafetensorsFiller();
  SafetensorsFiller(const SafetensorsFiller&) = delete;
  SafetensorsFiller& operator=(const SafetensorsFiller&) = delete;

  // What is appended from now on is that tensor's, by its number in the file.
  void begin(size_t index);
  void append(const void* data, int64_t bytes);
  // Returns when what was written is on the disk.
  void finish();

 private:
  fs::path path_;
  std::vector<int64_t> offsets_;  // of the tensors, in the file
  int descriptor_ = -1;
  int64_t next_ = 0;
};

}  // namespace annuli
