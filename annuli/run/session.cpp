#include "annuli/run/session.h"

#include <fmt/chrono.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/file.h"
#include "annuli/core/machine.h"
#include "annuli/kernels/threads.h"
#include "annuli/kernels/vector_kernels.h"
#include "annuli/run/program_commit.h"

namespace annuli::run {
namespace {

Json machine_json() {
  const Machine machine = this_machine();
  return {{"processor", machine.processor},
          {"hardware_threads", machine.hardware_threads},
          {"memory_bytes", machine.memory_bytes},
          {"kernels", kernels::vector_kernels()}};
}

// In the order of the first process that is on each.
Json machines_of(parallel::ProcessGroup& group) {
  const std::string own = Json{host_name(), machine_json()}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::pair<std::string, int64_t>> counts;
  for (const std::string& text : group.gather(own)) {
    const auto found = std::ranges::find(
        counts, text, &std::pair<std::string, int64_t>::first);
    if (found == counts.end()) {
      counts.emplace_back(text, 1);
    } else {
      ++found->second;
    }
  }
  Json machines = Json::array();
  for (const auto& [text, processes] : counts) {
    machines.push_back(Json::parse(text).at(1));
    machines.back()["processes"] = processes;
  }
  return machines;
}

}  // namespace

Json session_json(parallel::ProcessGroup& group) {
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(
      std::chrono::system_clock::now());
  Json program = program_versions();
  const std::string commit = program_commit();
  if (!commit.empty()) program["commit"] = commit;
  return {{"started", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now))},
          {"program", std::move(program)},
          {"processes", group.size()},
          {"threads", kernels::num_threads()},
          {"machines", machines_of(group)}};
}

void append_session(const fs::path& path, const Json& session) {
  std::string text = is_file(path) ? read_file(path) : "";
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  write_file_atomically(path, text + session.dump() + "\n");
}

}  // namespace annuli::run
