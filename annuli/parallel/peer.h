#pragma once

#include <cstdint>
#include <optional>
#include <string>

// A process of a run as the others know it, and what this machine can say of
// it.
namespace annuli::parallel {

struct Peer {
  std::string host;
  int64_t process = 0;
  // What tells whether its number means the same process here: the machine's
  // start and the container's numbering; and the process' own start.
  std::string numbering;
  std::string started;
  int64_t ranks = 0;  // how many processes it expects

  std::string name(int64_t rank) const;  // rank 1 (process 1234 on box)
};

Peer this_process(int64_t ranks);

std::string as_text(const Peer& peer);
std::optional<Peer> read_peer(const std::string& text);

// kUnknown: it is on another machine, or in another container.
enum class PeerState { kRuns, kStopped, kGone, kUnknown };
PeerState state_of(const Peer& peer);

}  // namespace annuli::parallel
