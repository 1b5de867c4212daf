#include "annuli/grow/model_card.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "annuli/config/yaml_tree.h"
#include "annuli/core/folder_for_tests.h"
#include "tests/support/model_folder.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

LineageRecord record(const std::string& op, const std::string& parent,
                     const std::string& child) {
  return {.op = op, .parent = parent, .child = child};
}

CardFacts facts_of(Lineage lineage) {
  return {.lineage = std::move(lineage),
          .shapes = {{"this model", tiny::config({.mixture = true})}},
          .config = {{"model_type", "mixtral"}},
          .origin = {},
          .training = {}};
}

YamlTree front_matter(const std::string& card) {
  EXPECT_TRUE(card.starts_with("---\n"));
  return parse_yaml(card.substr(4, card.find("\n---\n") - 3), "card");
}

std::vector<std::string> list(const YamlTree& yaml, const char* key) {
  std::vector<std::string> words;
  const YamlTree* found = yaml.find(key);
  if (found == nullptr) return words;
  for (const YamlEntry& entry : found->entries) {
    words.push_back(entry.node.scalar);
  }
  return words;
}

TEST(ModelCard, FrontMatterSaysWhatTheHubAsks) {
  LineageRecord widened = record("widen", "b", "c");
  CardFacts facts = facts_of(
      {record("initialize", "", "a"), record("train", "a", "b"), widened});
  facts.origin = {{"acme/tiny"}, {{"license", "apache-2.0"}}};
  facts.training.metrics = {{"loss", "Held-out loss", 2.5}};
  const YamlTree yaml = front_matter(model_card(facts));
  EXPECT_EQ(yaml.find("library_name")->scalar, "transformers");
  EXPECT_EQ(yaml.find("license")->scalar, "apache-2.0");
  EXPECT_EQ(yaml.find("base_model_relation")->scalar, "finetune");
  EXPECT_THAT(list(yaml, "base_model"), ElementsAre("acme/tiny"));
  EXPECT_THAT(list(yaml, "tags"),
              ElementsAre("annuli", "model-growth", "widen", "moe"));
  EXPECT_NE(yaml.find("model-index"), nullptr);
}

TEST(ModelCard, WhatIsNotKnownIsNotSaid) {
  const std::string card = model_card(facts_of({}));
  const YamlTree yaml = front_matter(card);
  for (const char* key :
       {"base_model", "base_model_relation", "license", "model-index"}) {
    EXPECT_EQ(yaml.find(key), nullptr) << key;
  }
  EXPECT_THAT(card, HasSubstr("# A model\n"));
  EXPECT_THAT(card, Not(HasSubstr("## How it came to be")));
}

TEST(ModelCard, TheLineageIsASentenceEach) {
  LineageRecord began = record("initialize", "", "aaaaaaaaaaaaaaaa");
  began.seed = 7;
  LineageRecord trained = record("train", began.child, "bbbbbbbbbbbbbbbb");
  trained.arguments = {
      {"max_steps", 20}, {"batch_size", 8}, {"learning_rate", 0.5}};
  LineageRecord widened = record("widen", trained.child, "cccccccccccccccc");
  widened.arguments = {{"factor", 2.0}, {"hidden", nullptr}};
  widened.verdicts = {{{"check", "x"},
                       {"aspect", "y"},
                       {"passed", true},
                       {"measured", 0.125},
                       {"limit", 1.0}},
                      {{"check", "v"},
                       {"aspect", "w"},
                       {"passed", false},
                       {"measured", 3.0},
                       {"limit", 1.0}}};
  const std::string card = model_card(facts_of({began, trained, widened}));
  EXPECT_THAT(card, HasSubstr("1. It began with random weights (seed 7). "
                              "Content hash `aaaaaaaaaaaa`.\n"));
  EXPECT_THAT(card, HasSubstr("2. It was trained for 20 steps of 8 windows at "
                              "a learning rate of 0.5. "));
  EXPECT_THAT(card, HasSubstr("3. It was grown by `widen` with `factor 2.0`"));
  EXPECT_THAT(card, HasSubstr("1 of 2 checks passed. Content hash"));
  EXPECT_THAT(card, HasSubstr("| x | y | 0.125 | at most 1 | passed |"));
  EXPECT_THAT(card, HasSubstr("| v | w | 3 | at most 1 | failed, allowed |"));
}

TEST(ModelCard, NothingFromFilesBecomesMarkup) {
  const std::string hostile = "x\"\n---\n<script>|`";
  LineageRecord odd = record(hostile, "p", "q");
  odd.versions = {{"annuli", "<b>"}};
  CardFacts facts = facts_of({odd});
  facts.origin = {{hostile}, {{"license", hostile}}};
  const std::string card = model_card(facts);
  EXPECT_EQ(front_matter(card).find("license")->scalar, hostile);
  const std::string body = card.substr(card.find("\n---\n") + 5);
  EXPECT_THAT(body, Not(HasSubstr("\n---\n")));
  EXPECT_THAT(body, Not(HasSubstr("<b>")));
  EXPECT_THAT(body, HasSubstr("`` x\" --- <script>\\|` ``"));
}

class Origins : public testing::Test {
 protected:
  // A model in this folder, with this card; none if it is empty.
  ModelFile model(const std::string& name, const std::string& card) {
    const fs::path folder = place_.path() / name;
    fs::create_directories(folder);
    tiny::save_as(tiny::model(tiny::config(), at::kFloat), folder, at::kFloat);
    if (!card.empty()) std::ofstream(folder / "README.md") << card;
    return ModelFile(folder);
  }
  test::TestFolder place_;
};

TEST_F(Origins, AreTheHubsOrThoseOfTheModelsCard) {
  const ModelFile of_hub = model("models--acme--tiny/snapshots/0",
                                 "---\nbase_model: acme/older\n---\n");
  EXPECT_THAT(origin_of({&of_hub}).ids, ElementsAre("acme/tiny"));
  const ModelFile named =
      model("named", "---\nlicense: mit\nbase_model: acme/older\n---\n# A\n");
  const ModelFile listed =
      model("listed", "---\nlicense: mit\nbase_model: [acme/older, b/c]\n---");
  const ModelOrigin both = origin_of({&named, &listed});
  EXPECT_THAT(both.ids, ElementsAre("acme/older", "b/c"));
  EXPECT_EQ(both.terms.at("license"), "mit");
}

TEST_F(Origins, TermsThatDifferAndCardsThatCannotBeReadSayNothing) {
  const ModelFile one = model("one", "---\nlicense: mit\n---\n");
  const ModelFile two = model("two", "---\nlicense: gpl-3.0\n---\n");
  EXPECT_TRUE(origin_of({&one, &two}).terms.empty());
  int number = 0;
  for (const char* card :
       {"", "# A card\n", "---\n{[\n---\n", "---\nlicense:", "---\n- a\n---\n",
        "---\nbase_model: {a: b}\n---\n"}) {
    const ModelFile odd = model(fmt::format("odd{}", number++), card);
    EXPECT_TRUE(origin_of({&odd}).ids.empty()) << card;
    EXPECT_TRUE(origin_of({&odd}).terms.empty()) << card;
  }
}

}  // namespace
}  // namespace annuli::grow
