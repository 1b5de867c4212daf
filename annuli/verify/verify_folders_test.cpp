// Folders, streamed: every growth in every stored type, and what it takes.
#include "annuli/verify/verify_folders.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/merge_experts.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "tests/support/grown_pair.h"
#include "tests/support/model_folder.h"

namespace annuli::verify {
namespace {

// A parent and its child on disk, in one stored type.
class Folders {
 public:
  Folders(const ModelConfig& config, const grow::Operator& op,
          at::ScalarType dtype, const tiny::Change& change = {})
      : parent_(tiny::model(config, at::kFloat)),
        recipe_(op.recipe(config, 3)) {
    tiny::save_as(parent_, parent(), dtype);
    tiny::save_grown(parent_, recipe_, child(), dtype, change);
  }

  fs::path parent() const { return folder_.path() / "parent"; }
  fs::path child() const { return folder_.path() / "child"; }
  const grow::Recipe& recipe() const { return recipe_; }

  std::vector<Verdict> verdicts(at::ScalarType arithmetic,
                                bool with_recipe = true) const {
    const ModelFile parent_file(parent());
    const ModelFile child_file(child());
    std::optional<grow::Recipe> known;
    if (with_recipe) known = recipe_;
    return verify_folders({&parent_file}, child_file, known,
                          tiny::probe(parent_.config()),
                          {.arithmetic = arithmetic, .loss_budget = 100})
        .verdicts;
  }

 private:
  test::TestFolder folder_;
  Transformer parent_;
  grow::Recipe recipe_;
};

void expect_passes(const std::vector<Verdict>& verdicts) {
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
}

double limit_of(const std::vector<Verdict>& verdicts,
                const std::string& aspect) {
  for (const Verdict& verdict : verdicts) {
    if (verdict.aspect.starts_with(aspect)) return verdict.limit;
  }
  ADD_FAILURE() << "no " << aspect << "\n" << tiny::lines(verdicts);
  return 0;
}

class FolderGrowths : public ::testing::TestWithParam<tiny::GrowthCase> {};

INSTANTIATE_TEST_SUITE_P(Growths, FolderGrowths,
                         ::testing::ValuesIn(tiny::growth_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(FolderGrowths, ProvedWithAndWithoutRecipe) {
  const Folders folders(tiny::config(GetParam().flavour), *GetParam().op,
                        at::kFloat);
  expect_passes(folders.verdicts(at::kFloat));
  if (tiny::can_be_inferred(folders.recipe())) {
    expect_passes(folders.verdicts(at::kDouble, /*with_recipe=*/false));
  }
}

const grow::Widen kTwice(WidenPlan{});

TEST(StoredTypes, PairsThatCancelKeepTheTightBound) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    const Folders folders(tiny::config({.gated = true}), kTwice, dtype);
    const auto verdicts = folders.verdicts(at::kDouble);
    expect_passes(verdicts);
    EXPECT_EQ(limit_of(verdicts, "logits"), 1e-12);
    EXPECT_EQ(limit_of(verdicts, "copied tensors"), 1e-11);
  }
}

// Thirds are rounded: by 2^-8 in bf16, which the bound says.
TEST(StoredTypes, RoundedWeightsHaveTheirOwnBound) {
  WidenPlan plan;
  plan.factor = 3;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const Folders folders(tiny::config({.gated = true}), grow::Widen(plan),
                          dtype);
    const auto verdicts = folders.verdicts(at::kDouble);
    expect_passes(verdicts);
    EXPECT_GT(limit_of(verdicts, "logits"), 1e-12);
  }
}

TEST(StoredTypes, AFaultIsSeenInEachOfThem) {
  const auto halve = [](const TensorSpec& spec, at::Tensor& value) {
    if (spec.part == Part::kV && spec.layer == 1) value.mul_(0.5);
  };
  for (const at::ScalarType dtype :
       {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble}) {
    const Folders folders(tiny::config({.gated = true}), kTwice, dtype, halve);
    const auto verdicts = folders.verdicts(at::kFloat);
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr) << tiny::lines(verdicts);
    EXPECT_EQ(failure->tensor, "model.layers.1.self_attn.v_proj.weight");
    EXPECT_NE(tiny::first_failure(verdicts, "functional_identity"), nullptr);
  }
}

// Two parents of one shape; their child is judged by both.
class MergedFolders : public ::testing::Test {
 protected:
  MergedFolders() {
    std::vector<Transformer> parents;
    for (const uint64_t seed : {1, 2}) {
      parents.push_back(tiny::model(config_, at::kFloat, seed));
      tiny::save_as(parents.back(), path("parent") / std::to_string(seed),
                    at::kFloat);
    }
    child_ =
        std::make_unique<Transformer>(grow::grow(std::move(parents), recipe_));
  }

  fs::path path(const char* name) const { return folder_.path() / name; }
  // Of the child as it stands.
  std::vector<Verdict> verdicts(bool with_recipe) const {
    fs::remove_all(path("child"));
    tiny::save_as(*child_, path("child"), at::kFloat);
    const ModelFile first(path("parent") / "1");
    const ModelFile second(path("parent") / "2");
    std::optional<grow::Recipe> known;
    if (with_recipe) known = recipe_;
    return verify_folders({&first, &second}, ModelFile(path("child")), known,
                          tiny::probe(config_), {.loss_budget = 100})
        .verdicts;
  }

  test::TestFolder folder_;
  ModelConfig config_ = tiny::config({.gated = true, .tied = false});
  grow::Recipe recipe_ =
      grow::MergeExperts(MergeExpertsPlan{.with = {"second"}})
          .recipe(config_, 3);
  std::unique_ptr<Transformer> child_;
};

TEST_F(MergedFolders, PassWithAndWithoutRecipe) {
  expect_passes(verdicts(/*with_recipe=*/true));
  expect_passes(verdicts(/*with_recipe=*/false));
}

TEST_F(MergedFolders, AnyPartDamagedIsNamed) {
  const TensorTable& table = child_->table();
  for (size_t row = 0; row < table.size(); ++row) {
    if (table[row].layer != 1) continue;
    const at::Tensor weight = child_->weight(row);
    weight.mul_(0.125);
    const auto found = verdicts(/*with_recipe=*/true);
    const Verdict* failure = tiny::first_failure(found);
    ASSERT_NE(failure, nullptr) << table[row].name;
    EXPECT_EQ(failure->tensor, table[row].name);
    weight.mul_(8);
  }
  expect_passes(verdicts(/*with_recipe=*/true));
}

TEST_F(MergedFolders, AnExpertOfTheWrongParentIsNamed) {
  const size_t first = find_row(child_->table(), Part::kDown, 1, 0);
  const size_t second = find_row(child_->table(), Part::kDown, 1, 1);
  child_->weight(second).copy_(child_->weight(first));
  const auto found = verdicts(/*with_recipe=*/true);
  const Verdict* failure = tiny::first_failure(found);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->tensor, child_->table()[second].name);
}

TEST(VerifyFolders, AMissingTensorIsAVerdictAndAFaultyParentIsNot) {
  const Folders folders(tiny::config({.gated = true}), kTwice, at::kFloat);
  const ModelFile parent(folders.parent());
  const ModelFile child(folders.child());
  fs::copy_file(folders.child() / "config.json",
                folders.parent() / "config.json",
                fs::copy_options::overwrite_existing);
  const ModelFile broken(folders.parent());
  const Probe probe = tiny::probe(parent.config());
  const auto verdicts =
      verify_folders({&parent}, broken, folders.recipe(), probe).verdicts;
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_FALSE(verdicts[0].passed);
  EXPECT_NE(verdicts[0].note.find("model.embed_tokens.weight"),
            std::string::npos)
      << verdicts[0].note;
  EXPECT_THROW(verify_folders({&broken}, child, folders.recipe(), probe),
               UserError);
}

int64_t data_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmData:")) return std::stoll(line.substr(7)) * 1024;
  }
  return 0;
}

// Until it is gone, the process cannot have more private writable memory than
// now and `more`: an allocation beyond that fails. Pages of mapped files do not
// count.
class DataLimit {
 public:
  explicit DataLimit(int64_t more) {
    ::getrlimit(RLIMIT_DATA, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(data_bytes() + more);
    ::setrlimit(RLIMIT_DATA, &limit);
  }
  ~DataLimit() { ::setrlimit(RLIMIT_DATA, &before_); }

 private:
  rlimit before_{};
};

// 100 MB of parent and 400 MB of child within 160 MiB: 64 MiB of widened
// weights, 32 MiB of head, and what the pass itself and the matrix library's
// own buffers need. With the program's allocator: the heap alone grows by what
// it cannot use again, which differs with the length of a path.
TEST(VerifyMemory, IsBoundedByActivationsAndBlocksOfATensor) {
#ifdef ANNULI_SANITIZED
  GTEST_SKIP() << "the bound would hold for the sanitizer's memory, too";
#endif
  ModelConfig config = tiny::config({.gated = true});
  config.vocab_size = 2048;
  config.hidden_size = 512;
  config.num_attention_heads = 8;
  config.num_key_value_heads = 8;
  config.head_dim = 64;
  config.intermediate_size = 1408;
  config.num_hidden_layers = 8;
  config.initializer_range = 0.02;
  const Folders folders(config, kTwice, at::kFloat);
  kernels::use_caching_allocator();
  kernels::give_back_memory();
  constexpr int64_t kBound = int64_t{160} << 20;
  const auto child_bytes = static_cast<int64_t>(
      fs::file_size(folders.child() / "model.safetensors"));
  ASSERT_GT(child_bytes, 2 * kBound);
  const DataLimit limit(kBound);
  expect_passes(folders.verdicts(at::kFloat));
  // The limit bites: the child does not fit.
  EXPECT_ANY_THROW(load_model(folders.child()));
}

}  // namespace
}  // namespace annuli::verify
