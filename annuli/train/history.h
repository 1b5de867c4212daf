#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/parallel/solo.h"

// training_history.jsonl: one JSON object per line, handed to the system before
// `append` returns. A crash can tear only the last line. A training state
// remembers a mark, to which the file is cut back when it is opened, so that a
// resumed run continues where the saved one stood; what stands before the mark
// must be what was written.
//
// Of several processes the first one writes; the history of another is empty
// and takes whatever it is given.
namespace annuli::train {

// A place in the file, and the checksum of all that stands before it.
struct HistoryMark {
  int64_t bytes = 0;
  uint32_t crc32 = 0;

  bool operator==(const HistoryMark&) const = default;
};

// As states and summaries keep it: "history_bytes" and "history_crc32".
Json to_json(const HistoryMark& mark);
// A json exception where they are missing.
HistoryMark mark_from_json(const Json& record);

// UserError if the file does not begin with what was there at that mark.
void require_unchanged(const std::filesystem::path& path,
                       const HistoryMark& mark);

class History {
 public:
  // Opens for appending, first cut to the mark. Throws UserError if the file
  // has changed before it or can't be written.
  explicit History(std::filesystem::path path, const HistoryMark& mark = {},
                   const parallel::ProcessGroup& group = parallel::solo());
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void append(const Json& record);
  // Is told each record once it is in the file.
  void tell(std::function<void(const Json& record)> told) {
    told_ = std::move(told);
  }
  // Makes what was appended survive a loss of power.
  void sync();
  const HistoryMark& mark() const { return mark_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;  // stays so on a process that does not write
  HistoryMark mark_;
  std::function<void(const Json&)> told_;
};

// A line without its end. UserError, with its number, for what is no JSON.
Json parse_history_line(const std::filesystem::path& path,
                        std::string_view line, size_t number);

// Calls `visit` with every whole line, in order, and says whether a torn one
// follows, which is left out. One line at a time is in memory beside the file.
bool visit_history(const std::filesystem::path& path,
                   const std::function<void(Json)>& visit);

// Every whole line.
std::vector<Json> read_history(const std::filesystem::path& path);

}  // namespace annuli::train
