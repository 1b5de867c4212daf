#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/file.h"

// The tensors of a memory-mapped file: what SafetensorsFile, PtFile and
// GgufWeights share; or tensors that are in memory anyway (held_tensors.h).
//
// Guarantees: every entry lies within the file, and names are unique. Opening
// reads no tensor data; `tensor` copies none.
// State: the mapping and the entries, in the file's own order.
//
// Corner cases: a view keeps the mapping alive by itself, also after this
// object is gone. It is READ-ONLY memory: writing to it is a crash; ask for a
// copy where values change. Data that is not aligned to its element size (the
// formats allow it) is handed out as a copy instead of a view, and so is a
// tensor that does not lie in the file as it is (kMade).
namespace annuli {

class MappedTensors {
 public:
  virtual ~MappedTensors() = default;
  MappedTensors(const MappedTensors&) = default;
  MappedTensors& operator=(const MappedTensors&) = default;
  MappedTensors(MappedTensors&&) = default;
  MappedTensors& operator=(MappedTensors&&) = default;

  const fs::path& path() const { return path_; }
  const std::vector<TensorEntry>& entries() const { return entries_; }
  bool contains(const std::string& name) const;
  // UserError if there is none of that name.
  const TensorEntry& entry(const std::string& name) const;

  // A view of the mapping.
  at::Tensor tensor(const std::string& name) const;

  // UserError if the bytes of a tensor are not those that the file has a
  // checksum of. Reads them all; safetensors have none.
  void check_data() const;

  // A copy in memory of its own (kernels::owned_empty), writable; a checksum
  // that does not match is a UserError. The file's pages are let go again, so
  // that copying a whole file tensor by tensor never holds two of it.
  at::Tensor copy(const std::string& name) const;

  // Takes what was read out of the resident memory; it comes back when read.
  void drop_resident() const;

 protected:
  // UserError also for the pointer that Git LFS leaves in a file's place.
  explicit MappedTensors(fs::path path);
  // Without a file: every entry is `kMade`. `name` stands for it in errors.
  struct NoFile {};
  MappedTensors(fs::path name, NoFile);

  // The offset of an entry whose tensor is made of what the file holds.
  static constexpr int64_t kMade = -1;
  // Makes it, contiguous, in memory of its own, each time that it is asked for;
  // or gives out what is in memory.
  virtual at::Tensor made(const TensorEntry& entry) const;

  std::span<const std::byte> bytes() const;
  // False if the name is taken. The entry must lie within the file, or be
  // `kMade`.
  bool add(TensorEntry entry);
  // UserError for a name that is there twice.
  void add_all(std::vector<TensorEntry> entries);

 private:
  const std::byte* data_of(const TensorEntry& entry) const;
  void check_data_of(const TensorEntry& entry) const;

  fs::path path_;
  std::shared_ptr<const MappedFile> file_;  // null: there is none
  std::vector<TensorEntry> entries_;
  std::unordered_map<std::string, size_t> index_;  // name -> entry
};

}  // namespace annuli
