#include "annuli/grow/parent_hasher.h"

#include <algorithm>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/grow/shard_stream.h"

namespace annuli::grow {
namespace {

constexpr size_t kBehind = 4;  // tensors

}  // namespace

ParentHasher::ParentHasher(
    const std::vector<const ModelFile*>& models,
    std::function<bool(size_t model, const std::string& name)> is_own)
    : is_own_(std::move(is_own)) {
  for (const ModelFile* file : models) {
    Model model{file, {}, {}, {}};
    for (const TensorSpec& spec : tensor_table(file->config())) {
      model.names.push_back(spec.name);
    }
    model.hashes.resize(model.names.size());
    models_.push_back(std::move(model));
  }
}

void ParentHasher::reading(size_t index, const std::string& name) {
  Model& model = models_.at(index);
  if (!is_own_(index, name) || !model.begun.insert(name).second) return;
  const auto row = std::ranges::find(model.names, name) - model.names.begin();
  worker_.post([&model, row] {
    const std::string& tensor = model.names.at(row);
    model.hashes[row] = tensor_hash({tensor, model.file->tensor(tensor)});
  });
  worker_.wait_below(kBehind);
}

std::vector<std::string> ParentHasher::finish(parallel::ProcessGroup& group) {
  for (size_t i = 0; i < models_.size(); ++i) {
    for (const std::string& name : models_[i].names) reading(i, name);
  }
  worker_.finish();
  std::vector<std::string> hashes;
  for (const Model& model : models_) {
    hashes.push_back(content_hash_of(of_all_makers(group, model.hashes)));
  }
  return hashes;
}

}  // namespace annuli::grow
