#pragma once

#include <filesystem>
#include <string>

#include "annuli/core/json.h"
#include "annuli/report/tensorboard.h"

namespace annuli::run {

// TensorBoard's event file of a run that is at work, in tensorboard/ of its
// folder (`report_to: [tensorboard]`). Each event is handed to the system at
// once.
//
// It begins with the whole history as it stands, and says that all that was
// told before is void: whoever reads along forgets what a resumed run, or one
// that rolled back, has cut off. Its name is greater than those of the files
// before it, of which the last four stay. Of the folder only files with such
// names are ours.
//
// State: the open file, and where in the history its events are.
class EventLog {
 public:
  // `run`: the run's folder. UserError where the file can't be written.
  explicit EventLog(const std::filesystem::path& run);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Lines of the history that follow.
  void add(const Json& line) { write(events_.of(line)); }
  // Samples of the phase that has ended, once they are there.
  void add_samples(const std::string& phase) {
    write(events_.of_samples(run_, phase));
  }

 private:
  void write(const std::string& records) const;

  std::filesystem::path run_;
  std::filesystem::path path_;
  report::HistoryEvents events_;
  int descriptor_ = -1;
};

// Where event files stand in a run's folder, and those that it has.
std::filesystem::path event_folder(const std::filesystem::path& run);
std::vector<std::filesystem::path> event_files(
    const std::filesystem::path& run);

}  // namespace annuli::run
