#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/parallel/board.h"
#include "annuli/parallel/peer.h"

// Who takes part in a run, and who is missing when an operation fails.
//
// Each process leaves on the board who it is; when an operation fails, that it
// has noticed so; and when it fails itself, why. So a process without such a
// note is the one that is missing. What its own machine says of a process, that
// it is gone or stopped, is known on that machine alone; from another one, all
// processes without a note are named.
namespace annuli::parallel {

// What a process exits with whose end is not known.
inline constexpr int kNotSaid = 2;

struct Missing {
  int status = kNotSaid;
  std::string who;    // "rank 1 (process 1234 on box)"; "" if not known
  std::string cause;  // "the process is gone"
};

// Leaves the note of a process that has failed: itself, or its launcher for it.
void note_failure(Board& board, int64_t rank, int status,
                  const std::string& cause);
// "it ended with status 2: the disk is full".
std::string ended_with(int status, std::string_view text);

class RollCall {
 public:
  RollCall(std::shared_ptr<Board> board, int64_t rank, int64_t size);

  // Returns when all have come. LostProcess: some have not within the timeout.
  // UserError: one has failed or gone meanwhile, a rank has come twice, or
  // another process expects another number of them.
  void wait_for_all(std::chrono::milliseconds timeout);

  // This process fails, or leaves because another does.
  void say_failed(int status, std::string_view text);
  void say_lost();

  // Looks, for a second at most if the board answers, who is missing. `error`
  // is what the failed operation says, and is the cause if nothing else is.
  Missing find_missing(const std::string& error);
  // Before this process ends after a failure: if it serves the board, it lets
  // the others look first, for two seconds at most.
  void let_others_look();

  const std::string& host() const { return self_.host; }

 private:
  bool all_came();
  void require_same_number() const;
  void require_none_failed() const;
  void require_all_came(std::chrono::milliseconds timeout) const;
  Missing look_for_missing(const std::string& error);
  std::optional<Missing> failed() const;
  std::optional<Missing> in_state(PeerState state, const char* cause) const;
  std::vector<int64_t> silent() const;
  std::string name(int64_t rank) const;
  std::string names(const std::vector<int64_t>& ranks) const;

  std::shared_ptr<Board> board_;
  int64_t rank_;
  Peer self_;
  std::vector<std::optional<Peer>> peers_;
};

}  // namespace annuli::parallel
