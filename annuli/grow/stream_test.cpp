#include "annuli/grow/stream.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/checkpoint/output_folder.h"
#include "annuli/checkpoint/test_files.h"
#include "annuli/core/error.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/grow_folder.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/replay.h"
#include "annuli/grow/transforms/perturb.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSeed = 5;

Recipe upcycled(const ModelConfig& parent) {
  return Upcycle({}).recipe(parent, kSeed);
}
Recipe widened(const ModelConfig& parent) {
  return Widen({.factor = 2, .noise_snr_db = 10}).recipe(parent, kSeed);
}
Recipe deepened(const ModelConfig& parent) {
  return Deepen({}).recipe(parent, kSeed);
}

Recipe deepened_at_random(const ModelConfig& parent) {
  return Deepen({.add_layers = 2,
                 .weights = LayerSource::kRandom,
                 .outputs = DeepenOutputs::kKeep})
      .recipe(parent, kSeed);
}
Recipe untied(const ModelConfig& parent) {
  return Untie({}).recipe(parent, kSeed);
}
Recipe shrunk(const ModelConfig& parent) {
  return ShrinkPerturbation({}).recipe(parent, kSeed);
}
Recipe selecting(const ModelConfig& parent) {
  return Upcycle({.selection_bias = true}).recipe(parent, kSeed);
}
Recipe closed(const ModelConfig& parent) {
  return ExpandExperts(
             {.factor = 3, .num_experts_per_tok = 2, .selection_bias = true})
      .recipe(parent, kSeed);
}
Recipe perturbed(const ModelConfig& parent) {
  return Perturbation({.relative_std = 0.1}).recipe(parent, kSeed);
}

struct Step {
  const char* name;
  Recipe (*recipe)(const ModelConfig&);
  tiny::Flavour parent;
};

class Streamed : public ::testing::TestWithParam<Step> {
 protected:
  Recipe recipe() const {
    return GetParam().recipe(tiny::config(GetParam().parent));
  }
  Transformer parent() const {
    return tiny::model(tiny::config(GetParam().parent), at::kFloat);
  }

  test::TestFolder base_;
};

INSTANTIATE_TEST_SUITE_P(
    Steps, Streamed,
    ::testing::Values(
        Step{"upcycle", upcycled, {.gated = true}},
        Step{"widen", widened, {.gated = true, .num_key_value_heads = 2}},
        Step{"widen_mixture", widened, {.mixture = true, .tied = false}},
        Step{"perturb", perturbed, {.mixture = true, .tied = false}},
        Step{"shrink_perturb", shrunk, {.mixture = true, .tied = false}},
        Step{"untie", untied, {.gated = true}},
        Step{"deepen_random", deepened_at_random, {.qkv_bias = true}},
        Step{"upcycle_selection", selecting, {.gated = true}},
        Step{"expand_closed",
             closed,
             {.mixture = true, .gated = true, .selection_bias = true}},
        Step{"expand_closed_plain", closed, {.mixture = true, .gated = true}},
        Step{"deepen", deepened, {.mixture = true, .gated = true}}),
    [](const auto& info) { return std::string(info.param.name); });

void expect_same_files(const fs::path& a, const fs::path& b) {
  EXPECT_TRUE(read_file(a / "model.safetensors") ==
              read_file(b / "model.safetensors"));
}

TEST_P(Streamed, WritesTheBytesOfGrowthInMemory) {
  save_folder(parent(), base_ / "parent");
  save_folder(grow(parent(), recipe()), base_ / "in_memory");
  const ModelFile file(base_ / "parent");
  const Recipe recipe = this->recipe();
  const StreamOrder order{.recipe = recipe, .parents = {&file}};
  fs::create_directory(base_ / "streamed");
  const auto hashes = stream(order, plan_stream(order), base_ / "streamed");
  expect_same_files(base_ / "in_memory", base_ / "streamed");
  EXPECT_EQ(hashes.parents.at(0), content_hash(parent()));
  EXPECT_EQ(hashes.child, content_hash(grow(parent(), recipe)));
}

// Steps of training are lost in bf16: selection biases are never stored in it.
TEST_P(Streamed, SelectionBiasesStayWideInShortFiles) {
  const Recipe recipe = this->recipe();
  if (!recipe.child.selection_bias) return;
  save_folder(parent(), base_ / "parent");
  const ModelFile file(base_ / "parent");
  const StreamOrder order{
      .recipe = recipe, .parents = {&file}, .dtype = at::kBFloat16};
  fs::create_directory(base_ / "short");
  stream(order, plan_stream(order), base_ / "short");
  const Transformer child = grow(parent(), recipe);
  const SafetensorsFile written(base_ / "short" / "model.safetensors");
  for (size_t row = 0; row < child.table().size(); ++row) {
    const TensorSpec& spec = child.table()[row];
    EXPECT_EQ(written.entry(spec.name).dtype,
              is_trained(spec.part) ? at::kBFloat16 : at::kFloat)
        << spec.name;
    if (is_trained(spec.part)) continue;
    EXPECT_TRUE(at::equal(written.tensor(spec.name), child.weight(row)));
  }
}

TEST_P(Streamed, BytesDoNotDependOnThreads) {
  save_folder(parent(), base_ / "parent");
  const ModelFile file(base_ / "parent");
  const Recipe recipe = this->recipe();
  const StreamOrder order{.recipe = recipe, .parents = {&file}};
  const int threads = at::get_num_threads();
  for (const int count : {1, 4}) {
    at::set_num_threads(count);
    const fs::path folder = base_ / std::to_string(count);
    fs::create_directory(folder);
    stream(order, plan_stream(order), folder);
  }
  at::set_num_threads(threads);
  expect_same_files(base_ / "1", base_ / "4");
}

TEST_P(Streamed, ShardsHoldTheSameTensors) {
  save_folder(parent(), base_ / "parent");
  const ModelFile file(base_ / "parent");
  const Recipe recipe = this->recipe();
  const StreamOrder order{
      .recipe = recipe, .parents = {&file}, .max_shard_bytes = 20'000};
  const StreamPlan plan = plan_stream(order);
  ASSERT_GT(plan.shards.size(), 2);
  OutputFolder out(base_ / "child", false);
  stream(order, plan, out.folder());
  write_json(out.folder() / "config.json", to_json(recipe.child));
  out.commit();
  const Transformer child = load_model(base_ / "child");
  const Transformer expected = grow(parent(), recipe);
  for (size_t row = 0; row < child.table().size(); ++row) {
    EXPECT_TRUE(at::equal(child.weight(row), expected.weight(row)))
        << child.table()[row].name;
  }
}

// A parent stored in bf16, as a folder.
void save_narrow(const Transformer& model, const fs::path& folder) {
  fs::create_directory(folder);
  std::vector<NamedTensor> tensors = named_weights(model);
  for (NamedTensor& tensor : tensors) {
    tensor.tensor = tensor.tensor.to(at::kBFloat16);
  }
  write_safetensors(folder / "model.safetensors", tensors);
  write_json(folder / "config.json", to_json(model.config()));
}

TEST(StreamDtype, IsTheParentsUnlessRoundingWouldBreakTheProof) {
  const test::TestFolder base;
  const Transformer model =
      tiny::model(tiny::config({.gated = true, .tied = false}), at::kFloat);
  save_narrow(model, base / "parent");
  const ModelFile file(base / "parent");
  const auto planned = [&](int64_t factor, std::optional<at::ScalarType> type) {
    const Recipe recipe =
        Widen({.factor = factor, .noise_snr_db = std::nullopt})
            .recipe(model.config(), kSeed);
    return plan_stream({.recipe = recipe, .parents = {&file}, .dtype = type});
  };
  EXPECT_EQ(planned(2, std::nullopt).dtype, at::kBFloat16);
  EXPECT_EQ(planned(2, std::nullopt).note, "");
  EXPECT_EQ(planned(3, std::nullopt).dtype, at::kFloat);
  EXPECT_THAT(planned(3, std::nullopt).note, HasSubstr("stored as F32"));
  EXPECT_EQ(planned(3, at::kBFloat16).dtype, at::kBFloat16);
  EXPECT_EQ(planned(2, at::kDouble).dtype, at::kDouble);
}

// Widening in bf16 with noise: each pair of blocks sums to twice the parent's
// value over n, exactly.
TEST(StreamDtype, NoiseInBf16CancelsExactly) {
  const test::TestFolder base;
  const Transformer model =
      tiny::model(tiny::config({.gated = true, .tied = false}), at::kFloat);
  save_narrow(model, base / "parent");
  const ModelFile file(base / "parent");
  const Recipe recipe = widened(model.config());
  const StreamOrder order{.recipe = recipe, .parents = {&file}};
  fs::create_directory(base / "child");
  stream(order, plan_stream(order), base / "child");
  const SafetensorsFile child(base / "child" / "model.safetensors");
  const std::string name = "model.layers.1.self_attn.q_proj.weight";
  const at::Tensor q = child.tensor(name).to(at::kDouble);
  const at::Tensor w = file.tensor(name).to(at::kDouble);
  const int64_t half = q.size(1) / 2;
  EXPECT_EQ(child.entry(name).dtype, at::kBFloat16);
  EXPECT_TRUE(at::equal(q.narrow(1, 0, half) + q.narrow(1, half, half),
                        w.repeat({2, 1})));
  EXPECT_FALSE(at::equal(q.narrow(1, 0, half), q.narrow(1, half, half)));
}

FolderOrder folder_order(const Recipe& recipe, const ModelFile& file) {
  return {.weights = {.recipe = recipe, .parents = {&file}}};
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& item : fs::directory_iterator(folder)) {
    files[item.path().filename().string()] = read_file(item.path());
  }
  return files;
}

class GrownFolder : public ::testing::Test {
 protected:
  GrownFolder() {
    const Transformer model = tiny::model(config_, at::kFloat);
    save_folder(model, base_ / "parent",
                {{.op = "initialize", .child = content_hash(model)}});
    test::write_raw(base_ / "parent" / "tokenizer.json", "{}");
    Json config = read_json(base_ / "parent" / "config.json");
    config["bos_token_id"] = 3;
    write_json(base_ / "parent" / "config.json", config);
    file_.emplace(base_ / "parent");
  }

  ModelConfig config_ = tiny::config({.gated = true});
  test::TestFolder base_;
  std::optional<ModelFile> file_;
};

TEST_F(GrownFolder, IsCompleteAndContinuesTheLineage) {
  const Recipe recipe = widened(config_);
  const FolderOrder order = folder_order(recipe, *file_);
  OutputFolder out(base_ / "child", false);
  grow_folder(order, plan_folder(order), out);
  const auto files = contents(base_ / "child");
  for (const char* name :
       {"config.json", "README.md", "tokenizer.json", "lineage.json",
        "model.safetensors", ".annuli-files.json"}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
  EXPECT_EQ(files.size(), 6);
  EXPECT_EQ(read_json(base_ / "child" / "config.json").at("bos_token_id"), 3);
  const ModelFile child(base_ / "child");
  ASSERT_EQ(child.lineage()->size(), 2);
  EXPECT_EQ(child.lineage()->back().child, content_hash(child));
  const SafetensorsFile weights(base_ / "child" / "model.safetensors");
  EXPECT_EQ(weights.metadata().at("format"), "pt");
  const Json origin = Json::parse(weights.metadata().at("annuli"));
  EXPECT_EQ(origin.at("operator"), "widen");
  EXPECT_THAT(origin.at("parents").get<std::vector<std::string>>(),
              testing::ElementsAre(content_hash(*file_)));
}

// Changed by another program after its lineage was written.
TEST_F(GrownFolder, AnEditedParentIsSaidToBeOne) {
  const Transformer edited = tiny::model(config_, at::kFloat, 2);
  write_safetensors(base_ / "parent" / "model.safetensors",
                    named_weights(edited));
  const ModelFile file(base_ / "parent");
  const Recipe recipe = widened(config_);
  const FolderOrder order = folder_order(recipe, file);
  OutputFolder out(base_ / "child", false);
  grow_folder(order, plan_folder(order), out);
  const Lineage lineage = read_lineage(base_ / "child" / "lineage.json");
  ASSERT_EQ(lineage.size(), 3);
  EXPECT_EQ(lineage[1].op, "edit");
  EXPECT_EQ(lineage[2].parent, content_hash(edited));
}

TEST_F(GrownFolder, AReplayIsTheSameByteForByte) {
  const Recipe recipe = upcycled(config_);
  FolderOrder order = folder_order(recipe, *file_);
  order.weights.max_shard_bytes = 100'000;
  order.weights.router_mean.assign(
      3, at::linspace(-1, 1, config_.hidden_size, at::kDouble));
  order.judge = [](const fs::path&) {
    return Json::array({{{"check", "c"},
                         {"aspect", "a"},
                         {"passed", true},
                         {"measured", 0.5},
                         {"limit", 1}}});
  };
  OutputFolder out(base_ / "child", false);
  grow_folder(order, plan_folder(order), out);

  const Lineage lineage = read_lineage(base_ / "child" / "lineage.json");
  FolderOrder again = folder_order(recipe, *file_);
  apply_replay(lineage.back(), "lineage.json", again);
  OutputFolder twin(base_ / "twin", false);
  replay_folder(again, plan_folder(again), lineage, twin);
  EXPECT_TRUE(contents(base_ / "child") == contents(base_ / "twin"));
}

TEST_F(GrownFolder, AReplayRefusesAnElementTypeThatNobodyKnows) {
  const Recipe recipe = widened(config_);
  FolderOrder order = folder_order(recipe, *file_);
  OutputFolder out(base_ / "child", false);
  LineageRecord record = grow_folder(order, plan_folder(order), out);
  apply_replay(record, "lineage.json", order);
  record.replay["dtype"] = "float7";
  EXPECT_EQ(
      test::user_error_of([&] { apply_replay(record, "lineage.json", order); }),
      "reading the lineage in lineage.json: dtype is 'float7', expected "
      "an element type");
}

TEST_F(GrownFolder, AReplayRefusesAnotherParent) {
  const Recipe recipe = widened(config_);
  const FolderOrder order = folder_order(recipe, *file_);
  OutputFolder out(base_ / "child", false);
  grow_folder(order, plan_folder(order), out);
  save_folder(tiny::model(config_, at::kFloat, 2), base_ / "other");
  const ModelFile other(base_ / "other");
  const FolderOrder wrong = folder_order(recipe, other);
  const Lineage lineage = read_lineage(base_ / "child" / "lineage.json");
  OutputFolder twin(base_ / "twin", false);
  EXPECT_THAT(test::user_error_of([&] {
                replay_folder(wrong, plan_folder(wrong), lineage, twin);
              }),
              HasSubstr("give that parent"));
}

TEST_F(GrownFolder, AFailedProofLeavesNothing) {
  const Recipe recipe = widened(config_);
  FolderOrder order = folder_order(recipe, *file_);
  order.judge = [](const fs::path& child) -> Json {
    EXPECT_TRUE(fs::exists(child / "config.json"));
    throw VerdictError("no");
  };
  {
    OutputFolder out(base_ / "child", false);
    EXPECT_THROW(grow_folder(order, plan_folder(order), out), VerdictError);
  }
  EXPECT_FALSE(fs::exists(base_ / "child"));
  EXPECT_EQ(std::distance(fs::directory_iterator(base_.path()), {}), 1);
}

// Writing beyond the limit fails as on a full disk; the limit is the process's.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  sighandler_t handler_;
};

TEST_F(GrownFolder, AFailedWriteIsOneLineAndLeavesNothing) {
  const Recipe recipe = widened(config_);
  const FolderOrder order = folder_order(recipe, *file_);
  {
    OutputFolder out(base_ / "child", false);
    const FileLimit limit(50'000);
    EXPECT_THAT(test::user_error_of(
                    [&] { grow_folder(order, plan_folder(order), out); }),
                HasSubstr("File too large"));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(base_.path()), {}), 1);
}

}  // namespace
}  // namespace annuli::grow
