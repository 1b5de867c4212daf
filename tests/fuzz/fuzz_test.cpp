// Every reader of untrusted files on its seeds and on some thousand mutations
// of them. `make fuzz` goes further, with libFuzzer and sanitizers.
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/target.h"

namespace annuli::fuzz {
namespace {

constexpr uint64_t kMutations = 5000;

class FuzzTest : public testing::TestWithParam<std::string> {};

TEST_P(FuzzTest, ReadsOrRefuses) {
  const Target& target = target_of(GetParam());
  const std::vector<std::string> seeds = target.seeds();
  for (const std::string& seed : seeds) try_input(target, seed);
  for (uint64_t number = 0; number < kMutations; ++number) {
    const std::string input = mutation(seeds, number);
    try {
      try_input(target, input);
    } catch (const std::exception& error) {
      FAIL() << "mutation " << number << ": " << error.what() << "\n"
             << input.substr(0, 400);
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Target& target : targets()) all.push_back(target.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Readers, FuzzTest, testing::ValuesIn(names()),
                         [](const auto& instance) { return instance.param; });

// A first seed that a reader refuses would fuzz nothing but its first line.
TEST(FuzzSeeds, TheFirstOfEachIsRead) {
  for (const Target& target : targets()) {
    EXPECT_NO_THROW(target.read(target.seeds().at(0))) << target.name;
  }
}

TEST(FuzzDriver, FindsAReaderThatThrowsSomethingElse) {
  const Target careless{"careless", nullptr, [](const std::string& bytes) {
                          if (bytes.find("-1") != std::string::npos)
                            throw std::out_of_range("");
                          if (bytes.size() < 4) user_error("too short");
                        }};
  const std::vector<std::string> seeds = {"{\"size\": 12}"};
  bool found = false;
  for (uint64_t number = 0; number < kMutations && !found; ++number) {
    try {
      try_input(careless, mutation(seeds, number));
    } catch (const std::out_of_range&) {
      found = true;
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace annuli::fuzz
