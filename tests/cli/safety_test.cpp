// What a command reads is never what it replaces, and what it replaces is what
// annuli made: inputs inside, above, beside and linked to the output of growth,
// replay, merge and export.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/file.h"
#include "arrangement.h"
#include "tests/support/tiny_model.h"

namespace annuli::test {
namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, text);
}

void link(const fs::path& target, const fs::path& path) {
  fs::create_symlink(target, path);
}

std::string prose() {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "The miller sold flour to the baker. ";
  return text;
}

// parent/ and other/: models; same/: other/, exported; child/: what was grown
// of parent/; a.pt: parent/ as a .pt; theirs.pt: another program's; words.txt;
// lineage.json: child's.
class Safety : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    base_ = std::make_unique<ScratchFolder>();
    const fs::path& base = base_->path();
    auto config = tiny::config({.gated = true});
    config.vocab_size = 257;  // bytes
    save_folder(tiny::model(config, at::kFloat), base / "parent");
    save_folder(tiny::model(config, at::kFloat, 2), base / "other");
    save_pt(tiny::model(config, at::kFloat), base / "a.pt");
    write(base / "theirs.pt", "PK weights of another program");
    write(base / "words.txt", prose());
    const Outcome grown = run_program({"grow", "widen", base / "parent",
                                       "--out", base / "child", "--no-verify"},
                                      base);
    ASSERT_EQ(grown.status, 0) << grown.err;
    const Outcome exported =
        run_program({"export", base / "other", "--out", base / "same"}, base);
    ASSERT_EQ(exported.status, 0) << exported.err;
    fs::copy(base / "child" / "lineage.json", base / "lineage.json");
  }
  static void TearDownTestSuite() { base_.reset(); }

  static void expect_all(const std::vector<Arrangement>& arrangements) {
    for (const Arrangement& one : arrangements) {
      expect_safe(one, base_->path());
    }
  }

  static std::unique_ptr<ScratchFolder> base_;
};

std::unique_ptr<ScratchFolder> Safety::base_;

using Words = std::vector<std::string>;

// `annuli grow widen PARENT --out OUT --force` and more.
Words widen(const std::string& parent, const std::string& out,
            const Words& more = {}) {
  Words words = {"grow", "widen", parent, "--out", out, "--force"};
  if (more.empty()) words.push_back("--no-verify");
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

constexpr const char* kRead = "is read, and it is";
constexpr const char* kNotOurs = "was not written by this command";

TEST_F(Safety, TheParentOfAGrowth) {
  const auto inside = [](const fs::path& f) {
    fs::copy(f / "parent", f / "child" / "sub");
  };
  expect_all({
      {"is replaced", widen("@child", "@child"), {}, kRead},
      {"is replaced, a slash", widen("@child/", "@child/"), {}, kRead},
      {"by a link", widen("@l", "@child"),
       [](const fs::path& f) { link("child", f / "l"); }, kRead},
      {"by two links", widen("@m", "@child"),
       [](const fs::path& f) {
         link("child", f / "l");
         link(f / "l", f / "m");
       },
       kRead},
      {"by ..", widen("@parent/../child", "@child"), {}, kRead},
      {"inside", widen("@child/sub", "@child"), inside, kRead},
      {"inside, by a link", widen("@l", "@child"),
       [inside](const fs::path& f) {
         inside(f);
         link("child/sub", f / "l");
       },
       kRead},
      {"a .pt inside", widen("@child/a.pt", "@child"),
       [](const fs::path& f) { fs::copy(f / "a.pt", f / "child" / "a.pt"); },
       kRead},
      {"its weights are a link to inside", widen("@linked", "@child"),
       [](const fs::path& f) {
         fs::create_directory(f / "linked");
         fs::copy(f / "child" / "config.json", f / "linked" / "config.json");
         link("../child/model.safetensors", f / "linked/model.safetensors");
       },
       kRead},
      {"reached through it", widen("@child/../parent", "@child"), {}, kRead},
      {"beside", widen("@parent", "@child"), {}, ""},
      {"beside, by a link", widen("@l", "@child"),
       [](const fs::path& f) { link("parent", f / "l"); }, ""},
      {"above",
       widen("@parent", "@parent/in"),
       [](const fs::path& f) { fs::rename(f / "child", f / "parent/in"); },
       "",
       {"parent/config.json", "parent/model.safetensors"}},
      {"above, nothing there", widen("@parent", "@parent/in"), {}, ""},
      {"a hard-linked copy",
       widen("@hard", "@child"),
       [](const fs::path& f) {
         fs::copy(
             f / "child", f / "hard",
             fs::copy_options::create_hard_links | fs::copy_options::recursive);
       },
       "",
       {"hard", "parent"}},
      {"--out is a link to it", widen("@parent", "@l"),
       [](const fs::path& f) { link("parent", f / "l"); },
       "it is a link to parent"},
  });
}

TEST_F(Safety, OtherInputsOfAGrowth) {
  const Words probe = {"--tokenizer", "bytes",    "--windows",
                       "1",           "--length", "16"};
  const auto with_text = [&](const std::string& out, const std::string& text) {
    Words more = {"--text", text};
    more.insert(more.end(), probe.begin(), probe.end());
    return widen("@parent", out, more);
  };
  const auto notes = [](const fs::path& f) {
    write(f / "child" / "notes.txt", prose());
  };
  expect_all({
      {"text inside", with_text("@child", "@child/notes.txt"), notes, kRead},
      {"text inside, nothing proved",
       widen("@parent", "@child",
             {"--no-verify", "--text", "@child/notes.txt"}),
       notes, kRead},
      {"text by a link", with_text("@child", "@l.txt"),
       [notes](const fs::path& f) {
         notes(f);
         link("child/notes.txt", f / "l.txt");
       },
       kRead},
      {"a folder of text with a link to inside", with_text("@child", "@text"),
       [notes](const fs::path& f) {
         notes(f);
         fs::create_directories(f / "text" / "more");
         link(f / "child" / "notes.txt", f / "text" / "more" / "l.txt");
       },
       kRead},
      {"a folder of text above that would read from it",
       with_text("@text/child", "@text"),
       [](const fs::path& f) {
         fs::create_directory(f / "text");
         fs::rename(f / "child", f / "text" / "child");
         write(f / "text" / "child" / "notes.txt", prose());
       },
       kRead},
      {"a glob", with_text("@child", "@child/*.txt"), notes, kRead},
      {"the tokenizer",
       widen("@parent", "@child",
             {"--text", "@words.txt", "--tokenizer", "@child"}),
       {},
       kRead},
      {"the tokenizer that a .pt names", widen("@b.pt", "@child"),
       [](const fs::path& f) {
         save_pt(tiny::model(tiny::config({.gated = true}), at::kFloat),
                 f / "b.pt", {},
                 {{"tokenizer", {{"name", (f / "child").string()}}}});
       },
       kRead},
      {"a chain inside",
       {"grow", "chain", "@child/steps.yaml", "@parent", "--out", "@child",
        "--force", "--no-verify"},
       [](const fs::path& f) {
         write(f / "child" / "steps.yaml", "- widen: {factor: 2}\n");
       },
       kRead},
      {"text beside",
       with_text("@child", "@words.txt"),
       {},
       "",
       {"parent", "words.txt"}},
      {"a folder of text above",
       with_text("@text/child", "@text"),
       [](const fs::path& f) {
         write(f / "text" / "a.txt", prose());
         fs::rename(f / "child", f / "text" / "child");
       },
       "",
       {"parent", "text/a.txt"}},
  });
}

TEST_F(Safety, ReplayAndMerge) {
  const auto replay = [](const std::string& lineage, const std::string& parent,
                         const std::string& out) {
    return Words{"grow", "--replay", lineage, parent, "--out", out, "--force"};
  };
  const auto merge = [](const std::string& parent, const std::string& with,
                        const std::string& out) {
    return Words{"grow", "merge-experts", parent,       "--with", with, "--out",
                 out,    "--force",       "--no-verify"};
  };
  const auto linked = [](const fs::path& f) { link("same", f / "l"); };
  expect_all({
      {"the lineage inside",
       replay("@child/lineage.json", "@parent", "@child"),
       {},
       kRead},
      {"the lineage by a link", replay("@l", "@parent", "@child"),
       [](const fs::path& f) { link("child/lineage.json", f / "l"); }, kRead},
      {"a replay onto its parent",
       replay("@lineage.json", "@parent", "@parent"),
       {},
       kRead},
      {"a replay beside",
       replay("@lineage.json", "@parent", "@child"),
       {},
       "",
       {"parent", "lineage.json"}},
      {"a merged model",
       merge("@parent", "@other,@same", "@same"),
       {},
       "--with"},
      {"a merged model by a link", merge("@parent", "@other,@l", "@same"),
       linked, "--with"},
      {"the first of them", merge("@same", "@same", "@same"), {}, kRead},
      {"a merge beside",
       merge("@parent", "@other", "@child"),
       {},
       "",
       {"parent", "other"}},
      {"a chain that merges",
       {"grow", "chain", "@steps.yaml", "@parent", "--out", "@same", "--force",
        "--no-verify"},
       [](const fs::path& f) {
         write(f / "steps.yaml",
               "- merge_experts: {with: [" + (f / "same").string() + "]}\n");
       },
       "--with"},
  });
}

TEST_F(Safety, Export) {
  const auto to = [](const std::string& source, const std::string& out) {
    return Words{"export", source, "--out", out, "--force"};
  };
  expect_all({
      {"onto itself", to("@child", "@child"), {}, kRead},
      {"onto itself by a link", to("@l", "@child"),
       [](const fs::path& f) { link("child", f / "l"); }, kRead},
      {"a .pt inside", to("@child/a.pt", "@child"),
       [](const fs::path& f) { fs::copy(f / "a.pt", f / "child" / "a.pt"); },
       kRead},
      {"a .pt onto itself", to("@a.pt", "@a.pt"), {}, kRead},
      {"a .pt onto itself by ..", to("@parent/../a.pt", "@a.pt"), {}, kRead},
      {"onto another program's .pt", to("@parent", "@theirs.pt"), {}, kNotOurs},
      {"onto a model that was not made",
       to("@a.pt", "@other"),
       {},
       "its config.json is not"},
      {"beside", to("@a.pt", "@child"), {}, "", {"a.pt", "parent"}},
      {"a .pt beside", to("@parent", "@a.pt"), {}, ""},
  });
}

TEST_F(Safety, WhatSomebodyElsePutThereIsNamedAndStays) {
  expect_all({
      {"a photo", widen("@parent", "@child"),
       [](const fs::path& f) { write(f / "child/cat.jpg", "cat"); },
       "its cat.jpg is not"},
      {"a checkpoint below", widen("@parent", "@child"),
       [](const fs::path& f) {
         write(f / "child/checkpoint-5/optimizer.pt", "x");
       },
       "its checkpoint-5/optimizer.pt is not"},
      {"weights that were trained on", widen("@parent", "@child"),
       [](const fs::path& f) {
         fs::copy(f / "other/model.safetensors", f / "child/model.safetensors",
                  fs::copy_options::overwrite_existing);
       },
       "its model.safetensors is not"},
      {"a link", widen("@parent", "@child"),
       [](const fs::path& f) { link("../other", f / "child/more"); },
       "its more is not"},
      {"no manifest",
       widen("@parent", "@other"),
       {},
       "its model.safetensors is not"},
      {"a folder of the name that is written under",
       widen("@parent", "@child"),
       [](const fs::path& f) { write(f / "child.tmp-7/mine", "x"); },
       "",
       {"child.tmp-7", "parent"}},
  });
}

TEST_F(Safety, SingleFilesThatVerbsWrite) {
  const Words probe = {"--tokenizer", "bytes", "--windows", "1"};
  const auto evaluate = [&](const std::string& logits) {
    return Words{"evaluate", "@parent",   "--text", "@words.txt", "--tokenizer",
                 "bytes",    "--windows", "1",      "--logits",   logits};
  };
  const auto verify = [](const std::string& json) {
    return Words{"verify",    "@parent", "@child",   "--json", json,
                 "--windows", "1",       "--length", "16"};
  };
  expect_all({
      {"logits over weights",
       evaluate("@parent/model.safetensors"),
       {},
       kNotOurs},
      {"logits over another's",
       evaluate("@other/model.safetensors"),
       {},
       kNotOurs},
      {"logits over the text", evaluate("@words.txt"), {}, kRead},
      {"logits", evaluate("@l.safetensors"), {}, ""},
      {"verdicts over a config", verify("@parent/config.json"), {}, kNotOurs},
      {"verdicts over a lineage", verify("@lineage.json"), {}, kNotOurs},
      {"verdicts", verify("@v.json"), {}, ""},
      {"a report over a config",
       widen("@parent", "@new",
             {"--no-verify", "--json", "@parent/config.json"}),
       {},
       kNotOurs},
      {"a report over notes",
       widen("@parent", "@new", {"--no-verify", "--json", "@words.txt"}),
       {},
       kNotOurs},
      {"a dry run's report over a config",
       {"grow", "widen", "@parent", "--dry-run", "--json",
        "@parent/config.json"},
       {},
       kNotOurs},
      {"tokens over their text",
       {"tokenize", "@words.txt", "--tokenizer", "bytes", "--out", "@words.txt",
        "--force"},
       {},
       "something else than a token file"},
  });
}

TEST_F(Safety, PlacesThatNothingCanBeWrittenTo) {
  const auto link_nowhere = [](const fs::path& f) { link("nowhere", f / "l"); };
  const auto file = [](const fs::path& f) { write(f / "file", "x"); };
  expect_all({
      {"a dangling link", widen("@parent", "@l"), link_nowhere,
       "a link to nowhere, which is not there"},
      {"a file", widen("@parent", "@file"), file, "a file stands there"},
      {"the folder itself", widen("@parent", "@parent/."), {}, "try '"},
      {"the folder above",
       widen("@parent", "@parent/.."),
       {},
       "expected a name for a new folder"},
      {"~", widen("@parent", "~/child"), {}, "stands without quotes"},
      {"~ of a .pt",
       widen("@parent", "~/child.pt"),
       {},
       "stands without quotes"},
      {"a .pt that is a folder", widen("@parent", "@f.pt"),
       [](const fs::path& f) { fs::create_directory(f / "f.pt"); }, kNotOurs},
      {"an empty folder", widen("@parent", "@empty"),
       [](const fs::path& f) { fs::create_directory(f / "empty"); }, ""},
      {"below missing folders", widen("@parent", "@a/b/c/"), {}, ""},
  });
}

// What was written beside the model by its own growth goes with it.
TEST_F(Safety, AReportInTheChildsFolderIsOurs) {
  const ScratchFolder scratch;
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = run_program(
        {"grow", "widen", base_->file("parent"), "--out", scratch.file("c"),
         "--no-verify", "--force", "--json", scratch.file("c/report.json")},
        scratch.path());
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_TRUE(fs::exists(scratch.file("c/report.json")));
  }
}

TEST_F(Safety, AGrowthIntoAPtFile) {
  const ScratchFolder scratch;
  const Outcome outcome =
      run_program({"grow", "widen", base_->file("parent"), "--out",
                   scratch.file("c.pt"), "--windows", "1", "--length", "16"},
                  scratch.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(scratch.files(), (std::vector<std::string>{"c.pt"}));
  const ModelFile child(scratch.file("c.pt"));
  EXPECT_TRUE(child.faults().empty());
  const ModelFile folder(base_->file("child"));
  EXPECT_EQ(child.lineage()->back().child, folder.lineage()->back().child);
  EXPECT_FALSE(child.lineage()->back().verdicts.empty());
  const Outcome again = run_program(
      {"grow", "widen", base_->file("parent"), "--out", scratch.file("c.pt")},
      scratch.path());
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.err, ::testing::HasSubstr("--force"));
}

}  // namespace
}  // namespace annuli::test
