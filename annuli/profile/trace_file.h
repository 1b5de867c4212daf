#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "annuli/profile/recorder.h"

// Recordings as a trace that chrome://tracing and ui.perfetto.dev open: JSON of
// the Trace Event Format, complete events ("X") in microseconds with three
// digits behind the point, thread names as metadata. Each recording is a
// process of its own, named as given; its time begins at its first event.
namespace annuli::profile {

struct NamedRecording {
  std::string name;
  Recording recording;
};

// Atomically; a UserError if it can't be written.
void write_trace(const std::filesystem::path& path,
                 const std::vector<NamedRecording>& recordings);

// Whether a file begins as those do.
bool is_trace(const std::filesystem::path& path);

}  // namespace annuli::profile
