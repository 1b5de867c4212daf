#include "annuli/grow/grow_folder.h"

#include <utility>

#include "annuli/checkpoint/companions.h"
#include "annuli/checkpoint/content_hash.h"
#include "annuli/config/grown_config.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/grow/dtype_words.h"
#include "annuli/grow/model_card.h"
#include "annuli/grow/replay.h"
#include "annuli/parallel/agree.h"

namespace annuli::grow {
namespace {

constexpr int64_t kSmallFiles = int64_t{1} << 20;  // config, lineage, card

const ModelFile& first_parent(const FolderOrder& order) {
  return *order.weights.parents.at(0);
}

// Null if there is nothing to grow, or to say: a state that starts anew with
// rates of its own still has these.
std::unique_ptr<OptimizerFile> state_of(const FolderOrder& order) {
  const ModelFile& parent = first_parent(order);
  const bool wanted = order.state.optimizer == OptimizerState::kCarry ||
                      order.state.dynamics == Dynamics::kExact;
  return wanted && parent.format() == "folder"
             ? OptimizerFile::open(parent.path())
             : nullptr;
}

Json config_of(const FolderOrder& order, const FolderPlan& plan) {
  const Recipe& recipe = order.weights.recipe;
  return grown_config_json(first_parent(order).config_json(), recipe.child,
                           recipe.layer_map, torch_dtype(plan.weights.dtype));
}

// Stands for the hash of a parent until it was read whole.
std::string hash_to_come(size_t parent) {
  return fmt::format("{:#064x}", parent);
}

// What safetensors' metadata says: enough to tell what a stray shard is of.
Metadata metadata_of(const FolderOrder& order) {
  const Recipe& recipe = order.weights.recipe;
  Json description = {{"operator", recipe.op},
                      {"arguments", recipe.arguments},
                      {"seed", recipe.seed}};
  for (size_t i = 0; i < order.weights.parents.size(); ++i) {
    description["parents"].push_back(hash_to_come(i));
  }
  return {{"format", "pt"}, {"annuli", description.dump()}};
}

void name_parents(const FolderPlan& plan, const Streamed& streamed,
                  const fs::path& folder) {
  for (const Shard& shard : plan.weights.shards) {
    for (size_t i = 0; i < streamed.parents.size(); ++i) {
      replace_in_header(folder / shard.file, hash_to_come(i),
                        streamed.parents[i]);
    }
  }
}

LineageRecord record_of(const FolderOrder& order, const Streamed& streamed) {
  const Recipe& recipe = order.weights.recipe;
  LineageRecord record;
  record.op = recipe.op;
  record.arguments = recipe.arguments;
  record.seed = recipe.seed;
  record.parent = streamed.parents.front();
  if (streamed.parents.size() > 1) record.parents = streamed.parents;
  record.child = streamed.child;
  record.tensors = to_json(recipe).at("tensors");
  record.versions = program_versions();
  record.replay = replay_of(order);
  return record;
}

// The parent's lineage up to what its weights are now. Weights that are not
// what their lineage ends with were changed by another program.
Lineage lineage_to(const ModelFile& parent, const std::string& hash) {
  Lineage lineage = parent.lineage().value_or(Lineage());
  if (!lineage.empty() && lineage.back().child != hash) {
    append(lineage,
           {.op = "edit", .parent = lineage.back().child, .child = hash});
  }
  return lineage;
}

// What all processes write together: weights and the optimizer's state.
Streamed write_tensors(const FolderOrder& order, const FolderPlan& plan,
                       const fs::path& folder) {
  parallel::ProcessGroup& group = order.weights.group;
  group.work_at("growing the weights");
  Streamed streamed =
      stream(order.weights, plan.weights, folder, metadata_of(order));
  if (const auto state = state_of(order)) {
    group.work_at("growing the optimizer's state");
    stream_state(order.weights.recipe, *state, order.state, folder, group);
  }
  return streamed;
}

Json judge(const FolderOrder& order, const fs::path& folder) {
  order.weights.group.work_at("proving the child");
  order.weights.group.barrier();  // all files are there
  return order.judge(folder);
}

void write_lineage_and_card(const FolderOrder& order, const FolderPlan& plan,
                            const Lineage& lineage, const fs::path& folder) {
  write_lineage(folder / "lineage.json", lineage);
  const Recipe& recipe = order.weights.recipe;
  write_file_atomically(folder / "README.md",
                        model_card({.lineage = lineage,
                                    .shapes = {{"parent", recipe.parent},
                                               {"this model", recipe.child}},
                                    .config = config_of(order, plan),
                                    .origin = origin_of(order.weights.parents),
                                    .training = order.training}));
}

void finish(const FolderOrder& order, OutputFolder& out) {
  if (order.finish) {
    order.finish(out);
  } else {
    out.commit();
  }
}

Streamed write_weights(const FolderOrder& order, const FolderPlan& plan,
                       const OutputFolder& out) {
  out.require_space(plan.bytes);
  parallel::of_first(order.weights.group, fs::absolute(out.folder()).string());
  Streamed streamed = write_tensors(order, plan, out.folder());
  name_parents(plan, streamed, out.folder());
  copy_companions(plan.companions, out.folder());
  write_json(out.folder() / "config.json", config_of(order, plan));
  return streamed;
}

// Before anything is written: hashing is a small part of the work.
void require_parents(const FolderOrder& order, const LineageRecord& record) {
  std::vector<std::string> expected = record.parents;
  if (expected.empty()) expected.push_back(record.parent);
  const auto& parents = order.weights.parents;
  if (parents.size() != expected.size()) {
    user_error("replaying {}: found {} parents, expected {}", record.op,
               parents.size(), expected.size());
  }
  for (size_t i = 0; i < parents.size(); ++i) {
    const std::string hash = content_hash(*parents[i]);
    if (hash == expected[i]) continue;
    user_error(
        "replaying {}: {} has the content hash {:.12}, but the growth began "
        "with {:.12}; give that parent",
        record.op, parents[i]->path().string(), hash, expected[i]);
  }
}

// Null where the model has no tokenizer.json, or one of another kind.
Json vocabulary_of(const ModelFile& model) {
  const fs::path file = model.path() / "tokenizer.json";
  if (!fs::exists(file)) return {};
  const Json tokenizer = read_json(file);
  return tokenizer.is_object()
             ? tokenizer.value("/model/vocab"_json_pointer, Json())
             : Json();
}

// Equal sizes do not say that the rows of the embeddings mean the same.
void require_one_vocabulary(const FolderOrder& order) {
  const auto& parents = order.weights.parents;
  if (parents.size() == 1) return;
  const Json expected = vocabulary_of(first_parent(order));
  for (const ModelFile* parent : parents) {
    const Json found = vocabulary_of(*parent);
    if (expected.is_null() || found.is_null() || found == expected) continue;
    user_error("growing {}: the vocabulary of {} is another than that of {}",
               order.weights.recipe.op, parent->path().string(),
               first_parent(order).path().string());
  }
}

}  // namespace

FolderPlan plan_folder(const FolderOrder& order) {
  FolderPlan plan{.weights = plan_stream(order.weights),
                  .companions = companions(first_parent(order))};
  require_one_vocabulary(order);
  if (const auto state = state_of(order)) {
    plan.state = plan_state(order.weights.recipe, *state, order.state);
  }
  plan.bytes =
      total_bytes(plan.weights.shards) + size_of(plan.companions) + kSmallFiles;
  for (const TensorEntry& entry : plan.state) {
    plan.bytes += byte_size(entry.shape, entry.dtype).value();
  }
  return plan;
}

LineageRecord grow_folder(const FolderOrder& order, const FolderPlan& plan,
                          OutputFolder& out) {
  const Streamed streamed = write_weights(order, plan, out);
  Lineage lineage = lineage_to(first_parent(order), streamed.parents.front());
  append(lineage, record_of(order, streamed));
  write_lineage_and_card(order, plan, lineage, out.folder());
  if (order.judge) {
    lineage.back().verdicts = judge(order, out.folder());
    write_lineage_and_card(order, plan, lineage, out.folder());
  }
  finish(order, out);
  return lineage.back();
}

void replay_folder(const FolderOrder& order, const FolderPlan& plan,
                   const Lineage& lineage, OutputFolder& out) {
  const LineageRecord& record = lineage.back();
  require_parents(order, record);
  const Streamed streamed = write_weights(order, plan, out);
  if (streamed.child != record.child) {
    throw VerdictError(fmt::format(
        "replaying {}: the result has the content hash {:.12}, but the "
        "lineage says {:.12}; nothing was written",
        record.op, streamed.child, record.child));
  }
  write_lineage_and_card(order, plan, lineage, out.folder());
  finish(order, out);
}

void help_to_grow(const FolderOrder& order, const FolderPlan& plan) {
  const fs::path folder = parallel::of_first(order.weights.group, "");
  write_tensors(order, plan, folder);
  if (order.judge) judge(order, folder);
}

}  // namespace annuli::grow
