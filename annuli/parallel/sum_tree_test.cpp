#include "annuli/parallel/sum_tree.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace annuli::parallel {
namespace {

std::string by_recursion(int64_t begin, int64_t count) {
  return tree_sum(
      begin, count, [](int64_t part) { return std::to_string(part); },
      [](const std::string& a, const std::string& b) {
        return "(" + a + "+" + b + ")";
      });
}

// As a trainer does it, which has one part after the other.
std::string by_stack(int64_t begin, int64_t count) {
  std::vector<std::string> sums;
  for (int64_t part = 0; part < count; ++part) {
    sums.push_back(std::to_string(begin + part));
    for (int64_t i = sums_after(part, count); i > 0; --i) {
      const std::string last = sums.back();
      sums.pop_back();
      sums.back() = "(" + sums.back() + "+" + last + ")";
    }
  }
  EXPECT_EQ(sums.size(), 1U);
  return sums.back();
}

TEST(SumTree, FourAreTwoPairs) {
  EXPECT_EQ(by_recursion(0, 4), "((0+1)+(2+3))");
  EXPECT_EQ(by_recursion(0, 3), "(0+(1+2))");
}

TEST(SumTree, OneAfterTheOtherIsTheSame) {
  for (int64_t count = 1; count <= 40; ++count) {
    EXPECT_EQ(by_stack(0, count), by_recursion(0, count)) << count;
  }
}

// What makes the bits independent of the number of processes.
TEST(SumTree, ProcessesHoldNodes) {
  for (const int64_t parts : {1, 2, 3, 5, 6}) {
    for (int64_t processes = 1; processes <= 8; processes *= 2) {
      const std::string together = tree_sum(
          0, processes,
          [&](int64_t rank) { return by_stack(rank * parts, parts); },
          [](const std::string& a, const std::string& b) {
            return "(" + a + "+" + b + ")";
          });
      EXPECT_EQ(together, by_recursion(0, parts * processes))
          << parts << " x " << processes;
    }
  }
}

}  // namespace
}  // namespace annuli::parallel
