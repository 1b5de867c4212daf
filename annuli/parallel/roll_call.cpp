#include "annuli/parallel/roll_call.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/parallel/process_group.h"

namespace annuli::parallel {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kBetweenLooks{50};
constexpr milliseconds kLookForMissing{1000};
constexpr milliseconds kLetLook{2000};
// Once all have come: how long the board may take for one answer.
constexpr milliseconds kAnswer{2000};

std::string note(const char* kind, int64_t rank) {
  return fmt::format("{}/{}", kind, rank);
}

double seconds(milliseconds time) {
  return static_cast<double>(time.count()) / 1000;
}

}  // namespace

RollCall::RollCall(std::shared_ptr<Board> board, int64_t rank, int64_t size)
    : board_(std::move(board)),
      rank_(rank),
      self_(this_process(size)),
      peers_(static_cast<size_t>(size)) {}

void RollCall::wait_for_all(milliseconds timeout) {
  const int64_t times = board_->count(note("came", rank_));
  if (times > 1) {
    user_error(
        "joining the other processes at {}: rank {} came {} times; does "
        "another run use this place?",
        board_->place(), rank_, times);
  }
  board_->write(note("who", rank_), as_text(self_));
  const auto end = steady_clock::now() + timeout;
  while (!all_came() && board_->answers() && steady_clock::now() < end) {
    require_same_number();
    require_none_failed();
    std::this_thread::sleep_for(kBetweenLooks);
  }
  require_same_number();
  require_all_came(timeout);
  board_->answer_within(kAnswer);
}

bool RollCall::all_came() {
  bool all = true;
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    if (peers_[rank]) continue;
    if (const auto text = board_->read(note("who", int64_t(rank)))) {
      peers_[rank] = read_peer(*text);
    }
    all = all && peers_[rank];
  }
  return all;
}

void RollCall::require_same_number() const {
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    if (!peers_[rank] || peers_[rank]->ranks == self_.ranks) continue;
    user_error(
        "joining the other processes at {}: {} expects {} processes, {} "
        "expects {}; start all of them alike",
        board_->place(), name(int64_t(rank)), peers_[rank]->ranks,
        self_.name(rank_), self_.ranks);
  }
}

void RollCall::require_none_failed() const {
  if (const auto found = failed()) {
    user_error("joining the other processes at {}: {} does not come: {}",
               board_->place(), found->who, found->cause);
  }
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    if (!peers_[rank] || state_of(*peers_[rank]) != PeerState::kGone) continue;
    user_error("joining the other processes at {}: {} has ended meanwhile",
               board_->place(), name(int64_t(rank)));
  }
}

void RollCall::require_all_came(milliseconds timeout) const {
  std::vector<int64_t> absent;
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    if (!peers_[rank]) {
      absent.push_back(static_cast<int64_t>(rank));
    }
  }
  if (absent.empty() && board_->answers()) return;
  if (absent.empty() || (!board_->answers() && !peers_[0])) {
    user_error(
        "joining the other processes: {} does not answer any more; does the "
        "process that serves it still run?",
        board_->place());
  }
  throw LostProcess(
      kNotSaid,
      fmt::format("joining the other processes at {}: rank{} {} of {} did not "
                  "come within {:g} s; was it started, and does it reach this "
                  "place?",
                  board_->place(), absent.size() > 1 ? "s" : "",
                  fmt::join(absent, ", "), peers_.size(), seconds(timeout)));
}

void note_failure(Board& board, int64_t rank, int status,
                  const std::string& cause) {
  board.write(
      note("failed", rank),
      Json{status, cause}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string ended_with(int status, std::string_view text) {
  return fmt::format("it ended with status {}: {}", status, text);
}

void RollCall::say_failed(int status, std::string_view text) {
  note_failure(*board_, rank_, status, ended_with(status, text));
}

std::string RollCall::name(int64_t rank) const {
  return peers_[rank] ? peers_[rank]->name(rank) : fmt::format("rank {}", rank);
}

void RollCall::say_lost() { board_->write(note("lost", rank_), "yes"); }

std::optional<Missing> RollCall::failed() const {
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    const auto text = board_->read(note("failed", int64_t(rank)));
    if (!text) continue;
    const Json json = Json::parse(*text);
    return Missing{.status = json.at(0).get<int>(),
                   .who = name(static_cast<int64_t>(rank)),
                   .cause = json.at(1).get<std::string>()};
  }
  return std::nullopt;
}

// Who has left no note.
std::vector<int64_t> RollCall::silent() const {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < int64_t(peers_.size()); ++rank) {
    if (rank != rank_ && !board_->read(note("lost", rank))) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

std::string RollCall::names(const std::vector<int64_t>& ranks) const {
  std::vector<std::string> all;
  for (const int64_t rank : ranks) all.push_back(name(rank));
  return fmt::format("{}", fmt::join(all, ", "));
}

// The states first: a note that comes between them and the look at the notes
// clears a process that has ended because of another one.
std::optional<Missing> RollCall::in_state(PeerState state,
                                          const char* cause) const {
  std::vector<bool> is;
  for (const auto& peer : peers_) is.push_back(state_of(*peer) == state);
  if (std::ranges::find(is, true) == is.end()) return std::nullopt;
  std::vector<int64_t> ranks = silent();
  std::erase_if(ranks, [&](int64_t rank) { return !is[rank]; });
  if (ranks.empty()) return std::nullopt;
  return Missing{.who = names(ranks), .cause = cause};
}

Missing RollCall::find_missing(const std::string& error) {
  Missing found = look_for_missing(error);
  board_->write(note("knows", rank_), "yes");
  return found;
}

void RollCall::let_others_look() {
  if (!board_->served_here()) return;
  const auto looks = [&](int64_t rank) {
    return rank != rank_ && state_of(*peers_[rank]) != PeerState::kGone &&
           !board_->read(note("knows", rank));
  };
  const auto end = steady_clock::now() + kLetLook;
  for (int64_t rank = 0; rank < int64_t(peers_.size()); ++rank) {
    while (looks(rank) && steady_clock::now() < end) {
      std::this_thread::sleep_for(kBetweenLooks);
    }
  }
}

Missing RollCall::look_for_missing(const std::string& error) {
  const auto end = steady_clock::now() + kLookForMissing;
  while (true) {
    auto gone = in_state(PeerState::kGone, "the process is gone");
    if (auto found = failed()) return *found;
    if (gone) return *gone;
    if (!board_->answers() || steady_clock::now() > end) break;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  if (auto found = in_state(PeerState::kStopped, "the process is stopped")) {
    return *found;
  }
  const std::vector<int64_t> ranks = silent();
  return {.who = ranks.size() > 1 ? "one of " + names(ranks) : names(ranks),
          .cause = board_->answers() ? error
                                     : fmt::format("{}; and {} does not answer",
                                                   error, board_->place())};
}

}  // namespace annuli::parallel
