#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "program.h"

// Commands that write beside what they read, in every arrangement of the two.
namespace annuli::test {

struct Arrangement {
  std::string name;
  // The command; "@x" is x in the folder.
  std::vector<std::string> words;
  // What is put into the folder before.
  std::function<void(const fs::path& folder)> prepare;
  // Of the refusal, which must leave all as it was; empty: it must be done.
  std::string refusal;
  // What must be as it was afterwards; empty: "parent".
  std::vector<std::string> kept;
};

// The bytes of each file below a folder, the targets of links, and "" for
// folders; locks left out.
std::map<std::string, std::string> contents_of(const fs::path& folder);

// Runs the command in a copy of `base` and expects what the arrangement says.
void expect_safe(const Arrangement& arrangement, const fs::path& base);

}  // namespace annuli::test
