#include "annuli/grow/stream.h"

#include <algorithm>
#include <map>
#include <utility>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/grow/parent_hasher.h"
#include "annuli/grow/shard_stream.h"
#include "annuli/model/stored_type.h"

namespace annuli::grow {
namespace {

constexpr int64_t kResident = int64_t{256} << 20;  // pages of parents kept

// The stored type of a child tensor where the parent's is kept: its source's,
// and for a tensor that has none that of the embedding.
at::ScalarType kept_dtype(const StreamOrder& order, const TensorSpec& spec,
                          const TensorRecipe& tensor) {
  const bool has_source = tensor.source == Source::kParent;
  const ModelFile& file =
      *order.parents.at(has_source ? tensor.models.front() : 0);
  const std::string name =
      has_source ? tensor.parent : tensor_table(file.config()).front().name;
  return stored_type(spec, file.dtype_of(name));
}

// The row of the first tensor that is not exact in the kept type.
std::optional<size_t> first_rounded(const StreamOrder& order) {
  if (!order.recipe.exact) return std::nullopt;
  const TensorTable table = tensor_table(order.recipe.child);
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorRecipe& tensor = order.recipe.tensors.at(row);
    const at::ScalarType kept = kept_dtype(order, table[row], tensor);
    if (storage_breaks_exactness(tensor, kept)) return row;
  }
  return std::nullopt;
}

// Several parents are of one shape: that of the recipe.
void require_one_shape(const StreamOrder& order) {
  const Json expected = to_json(order.recipe.parent);
  for (const ModelFile* file : order.parents) {
    if (file->config() == order.recipe.parent) continue;
    const Json found = to_json(file->config());
    for (const auto& [key, value] : expected.items()) {
      if (found.value(key, Json()) == value) continue;
      user_error("growing {}: {} has {} {}, expected {} as in the first parent",
                 order.recipe.op, file->path().string(), key,
                 found.value(key, Json()).dump(), value.dump());
    }
    user_error("growing {}: {} differs in shape from the first parent",
               order.recipe.op, file->path().string());
  }
}

at::ScalarType most_bytes(const std::vector<TensorEntry>& entries) {
  std::map<at::ScalarType, int64_t> bytes;
  for (const TensorEntry& entry : entries) {
    bytes[entry.dtype] += *byte_size(entry.shape, entry.dtype);
  }
  return std::ranges::max_element(bytes, {},
                                  [](const auto& item) { return item.second; })
      ->first;
}

// By model and name of a parent's tensor: the process that hashes it, since it
// makes the first child tensor of it.
using Readers = std::map<std::pair<size_t, std::string>, int64_t>;

Readers readers_of(const StreamOrder& order, const StreamPlan& plan) {
  Readers readers;
  const std::vector<int64_t> makers =
      makers_of(plan.shards, order.group.size());
  for (size_t i = 0; i < makers.size(); ++i) {
    const TensorRecipe& tensor = order.recipe.tensors[i];
    if (tensor.source != Source::kParent) continue;
    for (const int64_t model : tensor.models) {
      readers.try_emplace({static_cast<size_t>(model), tensor.parent},
                          makers[i]);
    }
  }
  return readers;
}

// Opens the rows of each child tensor in turn, and keeps count of what was
// read.
class Rows {
 public:
  Rows(const StreamOrder& order, const StreamPlan& plan)
      : order_(order),
        readers_(readers_of(order, plan)),
        hasher_(order.parents, [this](size_t model, const std::string& name) {
          const auto found = readers_.find({model, name});
          const int64_t reader = found == readers_.end() ? 0 : found->second;
          return reader == order_.group.rank();
        }) {
    for (const Shard& shard : plan.shards) {
      for (const TensorEntry& entry : shard.entries) {
        dtypes_.push_back(entry.dtype);
      }
    }
  }

  RowMaker open(size_t index) {
    const TensorRecipe& tensor = order_.recipe.tensors[index];
    std::vector<at::Tensor> parents;
    if (tensor.source == Source::kParent) {
      for (int64_t model : tensor.models) {
        hasher_.reading(static_cast<size_t>(model), tensor.parent);
        parents.push_back(order_.parents.at(model)->tensor(tensor.parent));
        count_read(static_cast<int64_t>(parents.back().nbytes()));
      }
    }
    at::Tensor mean;
    if (tensor.source == Source::kRandomRouter && !order_.router_mean.empty()) {
      mean = order_.router_mean.at(tensor.layer);
    }
    return RowMaker(tensor, parents, order_.recipe.seed, dtypes_.at(index),
                    mean);
  }

  std::vector<std::string> hashes() { return hasher_.finish(order_.group); }

 private:
  void count_read(int64_t bytes) {
    read_ += bytes;
    if (read_ < kResident) return;
    for (const ModelFile* file : order_.parents) file->drop_resident();
    read_ = 0;
  }

  const StreamOrder& order_;
  std::vector<at::ScalarType> dtypes_;
  Readers readers_;
  ParentHasher hasher_;
  int64_t read_ = 0;
};

}  // namespace

StreamPlan plan_stream(const StreamOrder& order) {
  for (const ModelFile* file : order.parents) require_sound(*file, "growing");
  require_one_shape(order);
  StreamPlan plan;
  std::optional<at::ScalarType> dtype = order.dtype;
  const TensorTable table = tensor_table(order.recipe.child);
  const auto kept = [&](size_t row) {
    return kept_dtype(order, table[row], order.recipe.tensors[row]);
  };
  if (const auto rounded = first_rounded(order); rounded && !dtype) {
    const TensorRecipe& line = order.recipe.tensors[*rounded];
    dtype = at::kFloat;
    plan.note = fmt::format(
        "stored as F32: {} times {:.3g} would be rounded in {}, and the growth "
        "would not be exact (--dtype keeps it)",
        line.parent, line.scale, dtype_name(kept(*rounded)));
  }
  std::vector<TensorEntry> entries;
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorRecipe& line = order.recipe.tensors[row];
    entries.push_back(
        {.name = line.child,
         .dtype = dtype ? stored_type(table[row], *dtype) : kept(row),
         .shape = line.shape});
  }
  plan.dtype = most_bytes(entries);
  plan.shards = plan_shards(entries, order.max_shard_bytes);
  return plan;
}

Streamed stream(const StreamOrder& order, const StreamPlan& plan,
                const fs::path& folder, const Metadata& metadata) {
  Progress progress("growing", total_bytes(plan.shards), ProgressUnit::kBytes);
  Rows rows(order, plan);
  const std::vector<std::string> tensors = write_shards(
      folder, plan.shards, metadata,
      [&](size_t index) { return rows.open(index); }, progress, order.group);
  if (plan.shards.size() > 1 && order.group.is_first()) {
    write_json(folder / kWeightIndex, shard_index(plan.shards));
  }
  return {rows.hashes(), content_hash_of(tensors)};
}

}  // namespace annuli::grow
