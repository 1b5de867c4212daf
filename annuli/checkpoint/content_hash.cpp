#include "annuli/checkpoint/content_hash.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/core/progress.h"
#include "annuli/model/transformer.h"
#include "annuli/model/weight_parts.h"

namespace annuli {
namespace {

// Calls `work(i)` for every i on several threads, in the given order. The
// first exception is thrown again here.
template <typename Work>
void parallel_for_each(const std::vector<size_t>& order, const Work& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (size_t i = next++; i < order.size(); i = next++) work(order[i]);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  {
    const auto count =
        std::min(static_cast<size_t>(at::get_num_threads()), order.size());
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < count; ++i) threads.emplace_back(run);
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

TensorHash::TensorHash(const TensorEntry& entry)
    : hash_(std::make_unique<Sha256>()), left_(entry.bytes) {
  // The lengths make the text unambiguous.
  hash_->update(fmt::format("{}:{} {} {} {} ", entry.name.size(), entry.name,
                            dtype_name(entry.dtype), to_string(entry.shape),
                            entry.bytes));
}

TensorHash::~TensorHash() = default;
TensorHash::TensorHash(TensorHash&&) noexcept = default;

void TensorHash::update(const void* data, int64_t bytes) {
  left_ -= bytes;
  hash_->update(data, static_cast<size_t>(bytes));
}

std::string TensorHash::hex() {
  ANNULI_CHECK(left_ == 0, "{} bytes of a tensor are missing", left_);
  return hash_->hex();
}

std::string content_hash_of(const std::vector<std::string>& tensor_hashes) {
  Sha256 total;
  for (const std::string& hash : tensor_hashes) total.update(hash);
  return total.hex();
}

std::string tensor_hash(const NamedTensor& tensor) {
  const TensorEntry entry = entry_of(tensor);
  TensorHash hash(entry);
  const at::Tensor data = tensor.tensor.detach().to(at::kCPU);
  if (data.is_contiguous()) {
    hash.update(data.const_data_ptr(), entry.bytes);
  } else {
    for (int64_t row = 0; row < data.size(0); ++row) {
      const at::Tensor part = data[row].contiguous();
      hash.update(part.const_data_ptr(), static_cast<int64_t>(part.nbytes()));
    }
  }
  return hash.hex();
}

namespace {

// `read(i)`: the tensor of an entry, which is let go when it was hashed.
template <typename Read>
std::string hash_of_all(const std::vector<TensorEntry>& entries,
                        const Read& read) {
  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Large ones first, so that no thread is left alone with one at the end.
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t i) { return entries[i].bytes; });
  std::vector<std::string> hashes(entries.size());
  Progress progress("hashing", total_bytes(entries), ProgressUnit::kBytes);
  parallel_for_each(order, [&](size_t i) {
    hashes[i] = tensor_hash({entries[i].name, read(i)});
    progress.advance(entries[i].bytes);
  });
  return content_hash_of(hashes);
}

std::vector<TensorEntry> entries_of(const Transformer& model) {
  std::vector<TensorEntry> entries;
  for (size_t row = 0; row < model.table().size(); ++row) {
    entries.push_back(entry_of({model.table()[row].name, model.weight(row)}));
  }
  return entries;
}

}  // namespace

std::string content_hash(const ModelFile& file) {
  std::vector<TensorEntry> entries;
  for (const TensorSpec& spec : tensor_table(file.config())) {
    TensorEntry entry{.name = spec.name,
                      .dtype = file.dtype_of(spec.name),
                      .shape = spec.shape()};
    entry.bytes = byte_size(entry.shape, entry.dtype).value();
    entries.push_back(std::move(entry));
  }
  return hash_of_all(entries,
                     [&](size_t i) { return file.tensor(entries[i].name); });
}

std::string content_hash(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& tensor : tensors) {
    entries.push_back(entry_of(tensor));
  }
  return hash_of_all(entries, [&](size_t i) { return tensors[i].tensor; });
}

std::string content_hash(const Transformer& model) {
  if (model.parts() == nullptr) {
    return hash_of_all(entries_of(model),
                       [&](size_t row) { return model.read_weight(row); });
  }
  return content_hash_of(model.parts()->of_owners([&](size_t row) {
    return tensor_hash({model.table()[row].name, model.weight(row)});
  }));
}

std::vector<NamedTensor> named_weights(const Transformer& model) {
  std::vector<NamedTensor> weights;
  for (size_t row = 0; row < model.table().size(); ++row) {
    weights.push_back({model.table()[row].name, model.is_coded(row)
                                                    ? model.read_weight(row)
                                                    : model.weight(row)});
  }
  return weights;
}

}  // namespace annuli
