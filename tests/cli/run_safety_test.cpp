// A run's folder: what the run reads is kept, and so is what other programs put
// there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/file.h"
#include "arrangement.h"

namespace annuli::test {
namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, text);
}

std::string prose() {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "The miller sold flour to the baker. ";
  return text;
}

constexpr const char* kModel =
    "{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, "
    "num_attention_heads: 2}";

struct PlanWords {
  std::string output_dir = "@runs/a";
  std::string text = "@words.txt";
  std::string tokenizer = "bytes";
  std::string model = kModel;
  std::string checkpoint = "dense.pt";
  std::string cache_dir = "@cache";
};

// "@" stands for the folder of the arrangement.
std::string plan_text(const PlanWords& words, const fs::path& folder) {
  std::string plan =
      "name: p\noutput_dir: " + words.output_dir +
      "\ntokenizer: " + words.tokenizer + "\ndata: {text: [" + words.text +
      "], sequence_length: 16, cache_dir: " + words.cache_dir +
      "}\nmodel: " + words.model +
      "\nprobe: {windows: 1, length: 16, router_tokens: 16}\n"
      "evaluation: {windows: 1}\nphases: [{name: dense, checkpoint: " +
      words.checkpoint +
      ", train: {max_steps: 2, learning_rate: 1.0e-3, batch_size: 1}}]\n";
  for (size_t at = plan.find('@'); at != plan.npos; at = plan.find('@')) {
    plan.replace(at, 1, folder.string() + "/");
  }
  return plan;
}

// words.txt; runs/a: a finished run.
class RunSafety : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    base_ = std::make_unique<ScratchFolder>();
    const fs::path& base = base_->path();
    write(base / "words.txt", prose());
    write(base / "first.yaml", plan_text({}, base));
    const Outcome run = run_program({"run", base / "first.yaml"}, base);
    ASSERT_EQ(run.status, 0) << run.err;
  }
  static void TearDownTestSuite() { base_.reset(); }

  static void expect_all(const std::vector<Arrangement>& arrangements) {
    for (const Arrangement& one : arrangements) {
      expect_safe(one, base_->path());
    }
  }

  static std::unique_ptr<ScratchFolder> base_;
};

std::unique_ptr<ScratchFolder> RunSafety::base_;

using Words = std::vector<std::string>;
using Prepare = std::function<void(const fs::path&)>;

// p.yaml of these words, and what else.
Prepare plan(const PlanWords& words, const Prepare& more = {}) {
  return [=](const fs::path& folder) {
    write(folder / "p.yaml", plan_text(words, folder));
    if (more) more(folder);
  };
}

const Words kForce = {"run", "@p.yaml", "--force"};
const Words kPlain = {"run", "@p.yaml"};
const Words kResume = {"run", "@p.yaml", "--resume"};
constexpr const char* kRead = "is read, and it is";
constexpr const char* kTheirs = "was not made by a run there";

TEST_F(RunSafety, InputsInsideOfWhatIsReplaced) {
  const std::string from = "{from: @runs/a/checkpoints/dense.pt}";
  const auto put = [](const std::string& path) {
    return [path](const fs::path& f) { write(f / path, prose()); };
  };
  const auto link_to = [](const std::string& target, const std::string& path) {
    return [=](const fs::path& f) { fs::create_symlink(f / target, f / path); };
  };
  expect_all({
      {"model.from", kForce, plan({.model = from, .checkpoint = "more.pt"}),
       kRead},
      {"model.from by a link", kForce,
       plan({.model = "{from: @l.pt}", .checkpoint = "more.pt"},
            link_to("runs/a/checkpoints/dense.pt", "l.pt")),
       kRead},
      {"model.from by ..", kForce,
       plan({.model = "{from: @runs/a/../a/checkpoints/dense.pt}"}), kRead},
      {"the run by a link", kForce,
       plan({.output_dir = "@l", .model = from}, link_to("runs/a", "l")),
       kRead},
      {"its checkpoints elsewhere, by a link", kForce,
       plan({.model = "{from: @big/dense.pt}"},
            [](const fs::path& f) {
              fs::rename(f / "runs/a/checkpoints", f / "big");
              fs::create_symlink(f / "big", f / "runs/a/checkpoints");
            }),
       kRead},
      {"text among samples", kForce,
       plan({.text = "@runs/a/samples"}, put("runs/a/samples/mine.txt")),
       kTheirs},
      {"text that is a record", kForce,
       plan({.text = "@l.jsonl"},
            link_to("runs/a/training_history.jsonl", "l.jsonl")),
       kRead},
      {"the plan itself",
       {"run", "@runs/a/plan.yaml", "--force", "--out", "@runs/a"},
       {},
       kRead},
      {"the tokenizer", kForce, plan({.tokenizer = "@runs/a/checkpoints"}),
       kRead},
      {"the token files", kForce, plan({.cache_dir = "@runs/a/checkpoints"}),
       kRead},
      {"a trace over the text",
       {"run", "@p.yaml", "--force", "--profile=@words.txt"},
       plan({}),
       kRead},
      {"a trace over notes",
       {"run", "@p.yaml", "--force", "--profile=@notes"},
       plan({}, put("notes")),
       "is no trace of a run"},
  });
}

TEST_F(RunSafety, InputsBesideAndAbove) {
  const auto keep_dense = [](const fs::path& f) {
    fs::copy(f / "runs/a/checkpoints/dense.pt", f / "keep.pt");
  };
  expect_all({
      {"model.from beside",
       kForce,
       plan({.model = "{from: @keep.pt}"}, keep_dense),
       "",
       {"keep.pt", "words.txt", "p.yaml"}},
      {"text in the run's folder, not in what it writes",
       kForce,
       plan(
           {.text = "@runs/a/texts"},
           [](const fs::path& f) { write(f / "runs/a/texts/a.txt", prose()); }),
       "",
       {"runs/a/texts"}},
      {"a plan in the run's folder",
       {"run", "@runs/a/mine.yaml", "--force"},
       [](const fs::path& f) {
         write(f / "runs/a/mine.yaml", plan_text({}, f));
       },
       "",
       {"runs/a/mine.yaml", "words.txt"}},
      {"other files of the run's folder",
       kForce,
       plan({}, [](const fs::path& f) { write(f / "runs/a/notes.md", "x"); }),
       "",
       {"runs/a/notes.md"}},
      {"model.from of another run",
       kPlain,
       plan({.output_dir = "@runs/b",
             .model = "{from: @runs/a/checkpoints/dense.pt}"}),
       "",
       {"runs/a", "words.txt"}},
  });
}

// With and without flags: what is there is no run's, and would be in the way.
TEST_F(RunSafety, AFolderThatIsSomebodyElses) {
  const std::vector<std::string> theirs = {"checkpoints/step-9000.bin",
                                           "samples/photo.raw",
                                           "verify/a/b",
                                           "state/000001/mine",
                                           "plan.yaml",
                                           "lineage.json",
                                           "summary.json",
                                           "training_history.jsonl"};
  for (const Words& words : {kPlain, kResume, kForce}) {
    for (const std::string& path : theirs) {
      expect_safe({path + " " + words.back(), words,
                   plan({.output_dir = "@proj"},
                        [&](const fs::path& f) {
                          write(f / "proj" / path, "precious");
                        }),
                   "its " + path + " was not made"},
                  base_->path());
    }
  }
}

TEST_F(RunSafety, TheUsersOwnPlanYaml) {
  for (const Words& more : {Words{}, Words{"--resume"}, Words{"--force"}}) {
    Words words = {"run", "@proj/plan.yaml"};
    words.insert(words.end(), more.begin(), more.end());
    expect_safe({"plan.yaml", words,
                 [](const fs::path& f) {
                   write(f / "proj/plan.yaml",
                         "# mine\n" + plan_text({.output_dir = "@proj"}, f));
                 },
                 "its plan.yaml was not made"},
                base_->path());
  }
}

TEST_F(RunSafety, AForeignFileInARunsFolders) {
  const auto put = [](const std::string& path) {
    return [path](const fs::path& f) { write(f / path, "precious"); };
  };
  expect_all({
      {"an export among checkpoints", kForce,
       plan({}, put("runs/a/checkpoints/hf/config.json")),
       "its checkpoints/hf/config.json was not made"},
      {"among the states", kResume, plan({}, put("runs/a/state/000009/notes")),
       "its state/000009/notes was not made"},
      {"under a name that a phase will have", kPlain,
       plan({.output_dir = "@new"}, put("new/checkpoints/dense.pt")),
       "its checkpoints/dense.pt was not made"},
      {"a model's folder", kPlain,
       plan({.output_dir = "@m"}, put("m/.annuli-files.json")),
       "m/.annuli-files.json"},
  });
}

// What cannot begin does not end what was.
TEST_F(RunSafety, ARunThatCannotBeginLeavesTheOneBefore) {
  expect_all({
      {"~",
       {"run", "@p.yaml", "--out", "~/a"},
       plan({}),
       "stands without quotes"},
      {"no text", kForce, plan({.text = "@missing.txt"}), "missing.txt"},
      {"no tokenizer", kForce, plan({.tokenizer = "@missing"}), "missing"},
      {"a model that is none", kForce, plan({.model = "{from: @words.txt}"}),
       "words.txt"},
      {"checkpoints of a run whose history is gone", kPlain,
       plan({},
            [](const fs::path& f) {
              fs::remove(f / "runs/a/training_history.jsonl");
              fs::remove(f / "runs/a/summary.json");
            }),
       "start over with --force"},
  });
}

// One without a manifest, as version 0.1.0 left it.
TEST_F(RunSafety, ARunOfAnEarlierVersion) {
  const auto forget = [](const fs::path& f) {
    fs::remove(f / "runs/a/.annuli-files.json");
  };
  const auto forget_and_put = [forget](const fs::path& f) {
    forget(f);
    write(f / "runs/a/checkpoints/theirs.pt", "precious");
  };
  const auto forget_history = [forget](const fs::path& f) {
    forget(f);
    fs::remove(f / "runs/a/training_history.jsonl");
  };
  expect_all({
      {"is replaced", kForce, plan({}, forget), "", {"words.txt"}},
      {"with a foreign file", kForce, plan({}, forget_and_put),
       "its checkpoints/theirs.pt was not made"},
      {"that cannot be told", kForce, plan({}, forget_history), kTheirs},
  });
}

TEST_F(RunSafety, ForceRemovesWhatARunWroteAndNoMore) {
  const ScratchFolder scratch;
  const fs::path folder = scratch.path();
  write(folder / "words.txt", prose());
  write(folder / "p.yaml", plan_text({.checkpoint = "old.pt"}, folder));
  ASSERT_EQ(run_program({"run", folder / "p.yaml"}, folder).status, 0);
  write(folder / "runs/a/notes.tmp-1", "mine");
  write(folder / "q.yaml", plan_text({}, folder));
  const Outcome refused = run_program({"run", folder / "q.yaml"}, folder);
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, ::testing::HasSubstr("--force"));
  ASSERT_EQ(run_program({"run", folder / "q.yaml", "--force"}, folder).status,
            0);
  EXPECT_FALSE(fs::exists(folder / "runs/a/checkpoints/old.pt"));
  EXPECT_TRUE(fs::exists(folder / "runs/a/checkpoints/dense.pt"));
  EXPECT_TRUE(fs::exists(folder / "runs/a/notes.tmp-1"));
}

}  // namespace
}  // namespace annuli::test
