#pragma once

#include <memory>
#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"

namespace annuli {

class ModelFile;
class Sha256;
class Transformer;

// The identity of a list of tensors: SHA-256 over the SHA-256 of each, in
// order; a tensor's covers its name, element type, shape and bytes. It depends
// on nothing else: not on the file, the format, the device, or on where in
// memory tensors lie. Tensors are hashed in parallel.
std::string content_hash(const std::vector<NamedTensor>& tensors);

// The same, for tensors that pass by piece by piece: one TensorHash for each,
// over its bytes in order, and then all of them.
class TensorHash {
 public:
  explicit TensorHash(const TensorEntry& entry);  // `bytes` set
  ~TensorHash();
  TensorHash(TensorHash&&) noexcept;

  void update(const void* data, int64_t bytes);
  std::string hex();  // ends the hash; the bytes must be complete

 private:
  std::unique_ptr<Sha256> hash_;
  int64_t left_;
};
std::string content_hash_of(const std::vector<std::string>& tensor_hashes);

// Of one tensor, in whatever memory; it may be a view into a mapped file.
std::string tensor_hash(const NamedTensor& tensor);

// Of a model on disk, in its stored types, in the order of its table. For fp32
// and fp64 files that is the hash of the loaded model.
std::string content_hash(const ModelFile& file);

// Of a model: its weights, in the order of its tensor table. The config is not
// part of it, but it decides names and shapes. Where processes hold the model
// in parts, all of them call it.
std::string content_hash(const Transformer& model);

// The weights of a model as (name, tensor), in the order of its table. Those
// that it holds as codes are copies.
std::vector<NamedTensor> named_weights(const Transformer& model);

}  // namespace annuli
