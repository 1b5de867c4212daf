#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

// training_history.jsonl: one JSON object per line, handed to the system
// before `append` returns. A crash can tear only the last line; `open` drops a
// torn line and can cut the file back to the length that a training state
// remembers, so that a resumed run continues where the saved one stood.
namespace annuli::train {

class History {
 public:
  // Opens for appending, first cut to `bytes` (0: empty). Throws UserError if
  // the file is shorter than that or can't be written.
  History(std::filesystem::path path, int64_t bytes);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void append(const nlohmann::json& record);
  // Makes what was appended survive a loss of power.
  void sync();
  int64_t bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
  int64_t bytes_;
};

// Every whole line; a torn last line is left out.
std::vector<nlohmann::json> read_history(const std::filesystem::path& path);

}  // namespace annuli::train
