#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>

#include "program.h"
#include "tiny_run.h"

// Wrong input of every kind: exit status 2, one line that names the file and
// the fault, and nothing left behind.
namespace annuli::test {

using Words = std::vector<std::string>;

// Where a case finds its files.
struct Place {
  const ScratchFolder& scratch;
  std::string model = tiny_checkpoint("dense_model.pt");
  std::string out = scratch.file("out");

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(scratch.path() / name, std::ios::binary) << text;
    return scratch.file(name);
  }
  // A run holds its folder's lock, and tests run side by side.
  std::string copy_of_run() const {
    fs::copy(tiny_run(), scratch.path() / "run", fs::copy_options::recursive);
    return scratch.file("run");
  }
  // The first half of the model.
  std::string torn_model() const {
    std::ifstream file(model, std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    return write("torn.pt", bytes.substr(0, bytes.size() / 2));
  }
};

struct BadInput {
  const char* name;
  std::function<Words(const Place&)> arguments;
  Words says;  // parts of the one line
};

inline void expect_refused(const BadInput& bad) {
  const ScratchFolder scratch;
  const Place place{.scratch = scratch};
  const Words arguments = bad.arguments(place);
  const Words before = scratch.files();
  const Outcome outcome = run_program(arguments, scratch.path());
  EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::StartsWith("annuli"));
  for (const std::string& part : bad.says) {
    EXPECT_THAT(outcome.err, ::testing::HasSubstr(part));
  }
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(scratch.files(), before) << "something was left behind";
}

}  // namespace annuli::test
