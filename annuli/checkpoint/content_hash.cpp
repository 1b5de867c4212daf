#include "annuli/checkpoint/content_hash.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/model/transformer.h"

namespace annuli {
namespace {

std::string hash_tensor(const TensorEntry& entry, const at::Tensor& tensor) {
  Sha256 hash;
  // The lengths make the text unambiguous.
  hash.update(fmt::format("{}:{} {} {} {} ", entry.name.size(), entry.name,
                          dtype_name(entry.dtype), to_string(entry.shape),
                          entry.bytes));
  const at::Tensor data = tensor.detach().to(at::kCPU).contiguous();
  hash.update(data.const_data_ptr(), static_cast<size_t>(entry.bytes));
  return hash.hex();
}

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

std::string content_hash(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& tensor : tensors) {
    entries.push_back(entry_of(tensor));
  }
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Large ones first, so that no thread is left alone with one at the end.
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t i) { return entries[i].bytes; });
  std::vector<std::string> hashes(tensors.size());
  parallel_for_each(order, [&](size_t i) {
    hashes[i] = hash_tensor(entries[i], tensors[i].tensor);
  });
  Sha256 total;
  for (const std::string& hash : hashes) total.update(hash);
  return total.hex();
}

std::string content_hash(const Transformer& model) {
  return content_hash(named_weights(model));
}

std::vector<NamedTensor> named_weights(const Transformer& model) {
  std::vector<NamedTensor> weights;
  for (size_t row = 0; row < model.table().size(); ++row) {
    weights.push_back({model.table()[row].name, model.weight(row)});
  }
  return weights;
}

}  // namespace annuli
