// Reads config.json objects from its input, one a line, and prints for each
// what the program understands of it: the resolved config, or {"error": "..."}.
// The same as `annuli inspect --json` of as many folders, without their
// weights.
#include <fmt/core.h>

#include <iostream>
#include <string>

#include "annuli/config/class_defaults.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    annuli::Json answer;
    try {
      answer = annuli::resolved_config(annuli::Json::parse(line));
    } catch (const annuli::UserError& error) {
      answer = {{"error", error.what()}};
    }
    fmt::print("{}\n", answer.dump());
  }
}
