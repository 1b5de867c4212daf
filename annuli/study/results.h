#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/json.h"

// What a study has measured: one JSON object per line of a small file that can
// be committed, so that another machine goes on where this one stopped.
namespace annuli::study {

struct Result {
  std::string arm;
  int64_t seed = 0;
  double rate = 0;   // of the first phase
  double point = 1;  // share of the study's operations
  std::string plan_hash;
  double flops = 0;
  double source_flops = 0;  // of those, before the last growth
  int64_t tokens = 0;
  // Held-out, in bits per byte; nullopt if the run failed, with the reason.
  std::optional<double> bits_per_byte;
  std::string failure;
  double seconds = 0;  // of all steps, as the machine was
  Json session;        // program, machine, when (run/session.h)
};

// State: the file, whose lines are all in memory. A result belongs to an arm
// and the hash of its plan, so that a changed plan is measured anew. Several
// processes may add to one file.
class Results {
 public:
  // Reads the file if it is there. UserError for a line that is no result.
  explicit Results(std::filesystem::path path);

  // Nothing if there is none. It stays where it is until the file is read anew.
  const Result* find(const std::string& arm,
                     const std::string& plan_hash) const;
  // Adds a line behind those that are there by now. The file is replaced, so
  // that it is never half-written, and by one process at a time.
  void add(const Result& result);
  // Reads what others have added.
  void read();

 private:
  std::filesystem::path path_;
  std::map<std::pair<std::string, std::string>, Result> all_;
};

// The result of a finished run from its folder's history; loss and time alone.
// UserError if it has no evaluation.
Result result_of_run(const std::filesystem::path& run);

}  // namespace annuli::study
