#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"

namespace annuli::report {

// The folder of a run that never was, removed at the end. It begins empty.
class SmallRun {
 public:
  const fs::path& folder() const { return folder_.path(); }
  fs::path history() const { return folder_ / "training_history.jsonl"; }

  void write(const std::string& name, const std::string& text) const {
    folder_.write(name, text);
  }

  void add(const Json& line) { write_history(lines_ += line.dump() + "\n"); }
  void write_history(const std::string& text) const {
    write("training_history.jsonl", text);
  }

  // A step that took one second for 100 tokens.
  static Json step(int64_t number, double loss, const Json& more = {},
                   const std::string& phase = "dense") {
    Json line = {{"type", "step"},        {"phase", phase},
                 {"step", number},        {"loss", loss},
                 {"grad_norm", 1.0},      {"learning_rate", 0.001},
                 {"tokens", 100},         {"tokens_per_second", 100.0},
                 {"peak_memory_bytes", 5}};
    if (more.is_object()) line.update(more);
    return line;
  }

 private:
  test::TestFolder folder_;
  std::string lines_;
};

}  // namespace annuli::report
