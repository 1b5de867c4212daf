#include "annuli/core/hub_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "annuli/core/folder_for_tests.h"

namespace annuli {
namespace {

constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                                      "HF_HOME", "XDG_CACHE_HOME", "HOME"};

class HubCache : public ::testing::Test {
 protected:
  HubCache() {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      if (value != nullptr) before_[name] = value;
      unsetenv(name);
    }
    setenv("HOME", root_.c_str(), 1);
  }
  ~HubCache() override {
    for (const char* name : kVariables) unsetenv(name);
    for (const auto& [name, value] : before_) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }

  fs::path snapshot(const std::string& id, const std::string& commit) {
    fs::create_directories(hub_repository(id) / "refs");
    fs::create_directories(hub_repository(id) / "snapshots" / commit);
    return hub_repository(id) / "snapshots" / commit;
  }

  const test::TestFolder scratch_;
  const fs::path& root_ = scratch_.path();
  std::map<std::string, std::string> before_;
};

std::string id_of(std::string_view text) {
  const auto name = hub_name(text);
  return name ? name->id + "@" + name->revision : "";
}

TEST_F(HubCache, LiesWhereTheFirstVariableSays) {
  EXPECT_EQ(hub_cache(), root_ / ".cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(hub_cache(), "/x/huggingface/hub");
  setenv("HF_HOME", "~/h", 1);
  EXPECT_EQ(hub_cache(), root_ / "h/hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(hub_cache(), "/old");
  setenv("HF_HUB_CACHE", "/new", 1);
  EXPECT_EQ(hub_cache(), "/new");
}

TEST_F(HubCache, ARevisionIsABranchOrACommit) {
  const fs::path a = snapshot("acme/tiny", "aaaa");
  const fs::path b = snapshot("acme/tiny", "bbbb");
  const fs::path repository = hub_repository("acme/tiny");
  EXPECT_FALSE(hub_snapshot(repository));
  write_file_atomically(repository / "refs/main", "bbbb\n");
  EXPECT_EQ(hub_snapshot(repository), b);
  EXPECT_EQ(hub_snapshot(repository, "aaaa"), a);
  EXPECT_FALSE(hub_snapshot(repository, "cccc"));
  write_file_atomically(repository / "refs/main", "../..");
  EXPECT_FALSE(hub_snapshot(repository));
}

TEST_F(HubCache, NamesAreThoseThatTheHubAllows) {
  EXPECT_EQ(id_of("acme/tiny-1.5_b"), "acme/tiny-1.5_b@main");
  EXPECT_EQ(id_of("gpt2"), "gpt2@main");
  for (const char* path : {"a/b/c", "/a/b", "./a", "a/", "a/..", "a--b/c", "",
                           "-a/b", "a/b c", "~/a"}) {
    EXPECT_EQ(id_of(path), "") << path;
  }
}

TEST_F(HubCache, AddressesNameARepositoryToo) {
  for (const char* text :
       {"https://huggingface.co/acme/tiny", "hf.co/acme/tiny/",
        "hf://acme/tiny", "https://hf.co/acme/tiny?library=transformers",
        "http://www.huggingface.co/acme/tiny/tree/main/x"}) {
    EXPECT_EQ(id_of(text), "acme/tiny@main") << text;
    EXPECT_TRUE(is_hub_url(text)) << text;
  }
  EXPECT_EQ(id_of("hf://acme/tiny@v2"), "acme/tiny@v2");
  EXPECT_EQ(id_of("https://huggingface.co/acme/tiny/tree/v2"), "acme/tiny@v2");
  EXPECT_EQ(id_of("https://example.org/acme"), "");
  EXPECT_TRUE(is_hub_url("https://example.org/acme"));
  EXPECT_FALSE(is_hub_url("acme/tiny"));
}

TEST_F(HubCache, APathInACacheTellsItsRepository) {
  EXPECT_EQ(hub_id_of(hub_repository("acme/tiny") / "snapshots/aaaa"),
            "acme/tiny");
  EXPECT_EQ(hub_id_of(hub_repository("gpt2")), "gpt2");
  EXPECT_EQ(hub_id_of("/models/acme/tiny"), "");
}

}  // namespace
}  // namespace annuli
