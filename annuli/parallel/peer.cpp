#include "annuli/parallel/peer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/core/machine.h"

namespace annuli::parallel {
namespace {

std::string numbering() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::error_code error;
  const auto space = std::filesystem::read_symlink("/proc/self/ns/pid", error);
  return boot + " " + space.string();
}

// The fields of /proc/PID/stat behind the program's name, which may itself
// hold spaces and brackets; empty if there is no such process.
std::vector<std::string> stat_fields(int64_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(file, line);
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream rest(line.substr(end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

constexpr size_t kState = 0;
constexpr size_t kStarted = 19;

}  // namespace

std::string Peer::name(int64_t rank) const {
  return fmt::format("rank {} (process {} on {})", rank, process, host);
}

Peer this_process(int64_t ranks) {
  const auto fields = stat_fields(::getpid());
  return {.host = host_name(),
          .process = ::getpid(),
          .numbering = numbering(),
          .started = fields.size() > kStarted ? fields[kStarted] : "",
          .ranks = ranks};
}

std::string as_text(const Peer& peer) {
  return Json{peer.host, peer.process, peer.numbering, peer.started, peer.ranks}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<Peer> read_peer(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    return Peer{.host = json.at(0).get<std::string>(),
                .process = json.at(1).get<int64_t>(),
                .numbering = json.at(2).get<std::string>(),
                .started = json.at(3).get<std::string>(),
                .ranks = json.at(4).get<int64_t>()};
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

PeerState state_of(const Peer& peer) {
  if (peer.numbering != numbering()) return PeerState::kUnknown;
  const auto fields = stat_fields(peer.process);
  if (fields.size() <= kStarted || fields[kStarted] != peer.started) {
    return PeerState::kGone;
  }
  switch (fields[kState].front()) {
    case 'Z':
    case 'X':
      return PeerState::kGone;
    case 'T':
    case 't':
      return PeerState::kStopped;
    default:
      return PeerState::kRuns;
  }
}

}  // namespace annuli::parallel
