#include "annuli/checkpoint/stored_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "annuli/config/family.h"
#include "tests/support/tiny_model.h"

namespace annuli {
namespace {

using testing::HasSubstr;

using Rename = std::function<std::string(const std::string&)>;

const TensorTable& table() {
  static const TensorTable kTable = tensor_table(tiny::config({}));
  return kTable;
}

std::vector<TensorEntry> entries(const Rename& rename) {
  std::vector<TensorEntry> entries;
  for (const TensorSpec& spec : table()) {
    entries.push_back({.name = rename(spec.name)});
  }
  return entries;
}

// Rows of the table that are found under the name that they were given.
size_t found(const Rename& rename) {
  const StoredNames names(entries(rename), table(), TensorNames{});
  size_t count = 0;
  for (const TensorSpec& spec : table()) {
    if (names.stored(spec.name) != rename(spec.name)) continue;
    EXPECT_EQ(names.of_table(rename(spec.name)), spec.name);
    ++count;
  }
  return count;
}

std::string note(const Rename& rename) {
  return StoredNames(entries(rename), table(), TensorNames{}).note();
}

std::string without_base(const std::string& name) {
  return name.starts_with("model.") ? name.substr(6) : name;
}

TEST(StoredNames, TheTablesOwnAreLeftAlone) {
  const Rename same = [](const std::string& name) { return name; };
  EXPECT_EQ(found(same), table().size());
  EXPECT_EQ(note(same), "");
}

TEST(StoredNames, WhatAllShareIsTakenOff) {
  for (const std::string prefix : {"module.", "model.", "base_model.model.",
                                   "_orig_mod.module.", "x.y."}) {
    const Rename rename = [&](const std::string& name) {
      return prefix + name;
    };
    EXPECT_EQ(found(rename), table().size()) << prefix;
    EXPECT_THAT(note(rename), HasSubstr("taken off")) << prefix;
  }
}

TEST(StoredNames, ABaseThatIsMissingIsPutInFront) {
  EXPECT_EQ(found(without_base), table().size());
  EXPECT_THAT(note(without_base), HasSubstr("put in front"));
  const Rename wrapped = [](const std::string& name) {
    return "transformer." + without_base(name);
  };
  EXPECT_EQ(found(wrapped), table().size());
}

TEST(StoredNames, WrappersAreLeftOutAnywhere) {
  const Rename rename = [](std::string name) {
    const size_t at = name.find("self_attn.");
    if (at != std::string::npos) {
      name.insert(at, "_checkpoint_wrapped_module.");
    }
    return "_orig_mod." + name;
  };
  EXPECT_EQ(found(rename), table().size());
  EXPECT_THAT(note(rename), HasSubstr("_checkpoint_wrapped_module"));
  const Rename part_of_a_word = [](const std::string& name) {
    return "my_orig_mod." + name;
  };
  EXPECT_THAT(note(part_of_a_word), HasSubstr("'my_orig_mod.'"));
}

TEST(StoredNames, WhatSomeHaveIsNoPrefix) {
  const Rename rename = [](const std::string& name) {
    return name.find("layers.1.") == std::string::npos ? "x." + name : name;
  };
  EXPECT_EQ(note(rename), "");
  EXPECT_LT(found(rename), table().size());
}

// Two names that would become one are left as they are.
TEST(StoredNames, NothingIsLost) {
  std::vector<TensorEntry> both = entries([](const std::string& name) {
    return "transformer." + without_base(name);
  });
  both.push_back({.name = "lm_head.weight"});
  both.push_back({.name = "transformer.lm_head.weight"});
  const StoredNames names(both, table(), TensorNames{});
  EXPECT_EQ(names.note(), "");
  EXPECT_EQ(names.of_table("lm_head.weight"), "lm_head.weight");
}

// Families have other words for base and head.
TEST(StoredNames, ThePrefixesAreThoseOfTheFamily) {
  const ModelConfig config = tiny::config(
      {.tied = false, .mlp_bias = true, .layer_norm = true, .fused_qkv = true});
  const TensorTable neox = tensor_table(config);
  const TensorNames& tensors = family_of(config).names;
  ASSERT_EQ(neox.at(0).name, "gpt_neox.embed_in.weight");
  ASSERT_EQ(neox.back().name, "embed_out.weight");
  const auto names = [&](const Rename& rename) {
    std::vector<TensorEntry> entries;
    for (const TensorSpec& spec : neox) {
      entries.push_back({.name = rename(spec.name)});
    }
    return StoredNames(entries, neox, tensors);
  };
  const Rename bare = [](const std::string& name) {
    return name.starts_with("gpt_neox.") ? name.substr(9) : name;
  };
  const Rename wrapped = [](const std::string& name) {
    return "module." + name;
  };
  EXPECT_EQ(names(bare).stored(neox.at(1).name), bare(neox.at(1).name));
  EXPECT_EQ(names(bare).stored("embed_out.weight"), "embed_out.weight");
  EXPECT_THAT(names(bare).note(), HasSubstr("'gpt_neox.', which is put"));
  EXPECT_EQ(names(wrapped).stored("embed_out.weight"),
            "module.embed_out.weight");
  const Rename in_memory = [](const std::string& name) {
    return name == "embed_out.weight" ? "lm_head.weight" : name;
  };
  EXPECT_EQ(names(in_memory).stored("embed_out.weight"), "lm_head.weight");
  EXPECT_THAT(names(in_memory).note(), HasSubstr("is read as 'embed_out.'"));
}

}  // namespace
}  // namespace annuli
