// One process of a test of several (peers.h): annuli_parallel_peer SCENARIO; or
// several, started by our launcher: annuli_parallel_peer SCENARIO --processes
// N.
//
// Exits as the program does: 0, 1 if a result is wrong, 2 for what the user
// did, 3 for a bug, and the status of a LostProcess + 40, so that tests see it.
#include <ATen/Functions.h>
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/parallel/agree.h"
#include "annuli/parallel/cores.h"
#include "annuli/parallel/failure_report.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/launcher.h"
#include "annuli/parallel/rendezvous.h"

namespace annuli::parallel {
namespace {

constexpr double kShort = 4;    // where a test waits for its end
constexpr double kBusy = 60;    // where it does not; the machine may be busy
constexpr double kLong = 1000;  // longer than a test may take

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void require(bool holds, const std::string& what) {
  if (!holds) throw VerdictError(what);
}

// [count], different on each rank and for each number `salt`.
at::Tensor values(int64_t rank, int64_t salt, int64_t count,
                  at::ScalarType type) {
  return (at::arange(count, at::kLong) * 7 + rank * 31 + salt)
      .remainder(97)
      .to(type);
}

void check_all_gather(ProcessGroup& group, at::ScalarType type) {
  for (const int64_t count : {0, 1, 5, 4096}) {
    const at::Tensor all =
        group.all_gather(values(group.rank(), 1, count, type));
    for (int64_t rank = 0; rank < group.size(); ++rank) {
      require(all.size(0) == group.size() &&
                  all[rank].equal(values(rank, 1, count, type)),
              "all_gather");
    }
  }
  const at::Tensor number = at::full({}, group.rank(), type);
  require(group.all_gather(number).equal(at::arange(group.size(), type)),
          "all_gather of one number");
}

// What rank `from` has for rank `to`; a transposed view, so not contiguous.
at::Tensor matrix(int64_t from, int64_t to, at::ScalarType type) {
  return values(from, 5 * to, 12, type).view({4, 3}).t();
}

void check_all_to_all(ProcessGroup& group, at::ScalarType type) {
  std::vector<at::Tensor> rows;
  for (int64_t to = 0; to < group.size(); ++to) {
    rows.push_back(matrix(group.rank(), to, type));
  }
  const at::Tensor stacked = at::stack(rows);
  const at::Tensor wide = at::cat({stacked, stacked}, 1);
  const at::Tensor result = group.all_to_all(wide.narrow(1, 0, 3));
  for (int64_t from = 0; from < group.size(); ++from) {
    require(result[from].equal(matrix(from, group.rank(), type)), "all_to_all");
  }
  require(group.all_gather(matrix(group.rank(), 0, type))[1].equal(
              matrix(1, 0, type)),
          "all_gather of a view");
}

// Rank r gives r + 3 * s entries to rank s; the first gives nothing to itself.
void check_exchange(ProcessGroup& group, at::ScalarType type) {
  const auto of = [&](int64_t from, int64_t to) {
    return values(from, 5 * to, from + 3 * to, type);
  };
  std::vector<at::Tensor> to;
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    const at::Tensor twice = at::stack({of(group.rank(), rank)}, 1);
    to.push_back(at::cat({twice, twice}, 1).select(1, 0));  // not contiguous
  }
  const std::vector<at::Tensor> come = group.exchange(to);
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    require(come.at(static_cast<size_t>(rank)).equal(of(rank, group.rank())),
            "exchange");
  }
}

void check_gather(ProcessGroup& group) {
  const auto text = [](int64_t rank) {
    return std::string(static_cast<size_t>(rank * 3), 'a') + '\0' + "b\n";
  };
  const auto all = group.gather(text(group.rank()));
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    require(all.at(static_cast<size_t>(rank)) == text(rank), "gather");
  }
  for (const std::string& empty : group.gather("")) {
    require(empty.empty(), "gather of nothing");
  }
  const auto first = group.gather(group.is_first() ? "only the first" : "");
  require(first[0] == "only the first" && first[1].empty(), "gather of one");
}

void operations(ProcessGroup& group) {
  for (const at::ScalarType type :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kInt,
        at::kByte}) {
    check_all_gather(group, type);
    check_all_to_all(group, type);
    check_exchange(group, type);
  }
  require(group.all_gather(at::ones({3}, at::kBool)).all().item<bool>(),
          "all_gather of truth");
  check_gather(group);
  group.barrier();
}

// In the background, with others called meanwhile.
void begun_operations(ProcessGroup& group) {
  for (const at::ScalarType type : {at::kFloat, at::kByte}) {
    std::vector<Begun> begun;
    for (int i = 0; i < 20; ++i) {
      begun.push_back(group.begin([type](ProcessGroup& turn) {
        check_exchange(turn, type);
        check_all_gather(turn, type);
      }));
      if (i % 7 == 3) check_gather(group);
    }
    check_all_to_all(group, type);
    for (Begun& one : begun) one.wait();
  }
  group.barrier();
}

void count_bytes(ProcessGroup& group) {
  const auto sent = [&](auto operation) {
    const int64_t before = group.bytes_sent();
    operation();
    return group.bytes_sent() - before;
  };
  const at::Tensor part = at::zeros({10, 3});
  const at::Tensor rows = at::zeros({group.size(), 5}, at::kBFloat16);
  std::vector<at::Tensor> pieces;
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    pieces.push_back(at::zeros({rank == group.rank() ? 100 : 2 + rank}));
  }
  say(fmt::format(
      "barrier {} gather {} all_gather {} all_to_all {} exchange {}",
      sent([&] { group.barrier(); }),
      sent([&] { group.gather(std::string(group.is_first() ? 7 : 2, 'x')); }),
      sent([&] { group.all_gather(part); }),
      sent([&] { group.all_to_all(rows); }),
      sent([&] { group.exchange(pieces); }) + 4 * (2 + group.rank())));
}

void other_shape(ProcessGroup& group) {
  group.all_gather(at::zeros({group.rank() == 1 ? 4 : 3, 2}));
}

void other_type(ProcessGroup& group) {
  group.all_gather(
      at::zeros({3}, group.rank() == 1 ? at::kDouble : at::kFloat));
}

void other_operation(ProcessGroup& group) {
  if (group.rank() == 1) {
    group.barrier();
  } else {
    group.all_to_all(at::zeros({group.size(), 2}));
  }
}

// The last rank does something, the others wait for it.
template <typename Action>
void while_others_wait(ProcessGroup& group, Action action) {
  group.barrier();
  group.work_at("step 12 of phase moe");
  if (group.rank() == group.size() - 1) action();
  group.all_gather(at::zeros({1000}));
}

void killed(ProcessGroup& group) {
  while_others_wait(group, [] { ::raise(SIGKILL); });
}

void stopped(ProcessGroup& group) {
  while_others_wait(group, [] {
    say("stops");
    ::raise(SIGSTOP);
  });
}

// The others have begun to wait, and do something else.
template <typename Action>
void while_others_begin(ProcessGroup& group, Action action) {
  group.barrier();
  group.work_at("step 12 of phase moe");
  if (group.rank() == group.size() - 1) action();
  Begun first = group.begin(
      [](ProcessGroup& turn) { turn.all_gather(at::zeros({1000})); });
  Begun second = group.begin([](ProcessGroup& turn) { turn.barrier(); });
  group.work_at("step 13 of phase moe");
  first.wait();
}

void killed_in_flight(ProcessGroup& group) {
  while_others_begin(group, [] { ::raise(SIGKILL); });
}

void stopped_in_flight(ProcessGroup& group) {
  while_others_begin(group, [] {
    say("stops");
    ::raise(SIGSTOP);
  });
}

// It says so, and does not end.
void failed(ProcessGroup& group) {
  while_others_wait(group, [&] {
    group.say_failed(7, "the disk is full");
    say("failed");
    ::sleep(300);
  });
}

// The one that serves the store, and ends at once.
void first_failed(ProcessGroup& group) {
  group.barrier();
  if (group.is_first()) {
    group.say_failed(7, "the disk is full");
    std::_Exit(7);
  }
  group.barrier();
}

// Rank 0 serves the store, if the others meet at a port.
void first_killed(ProcessGroup& group) {
  group.barrier();
  if (group.is_first()) ::raise(SIGKILL);
  group.barrier();
}

void first_stopped(ProcessGroup& group) {
  group.barrier();
  if (group.is_first()) {
    say("stops");
    ::raise(SIGSTOP);
  }
  group.barrier();
}

// Under torchrun with a restart.
void fails_at_first(ProcessGroup& group) {
  const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
  group.barrier();
  if (attempt == std::string("0")) ::raise(SIGKILL);
  operations(group);
  if (group.is_first()) say(fmt::format("attempt {}", attempt));
}

void throws_twice(ProcessGroup& group) {
  try {
    killed(group);
  } catch (const LostProcess&) {
    group.barrier();
  }
}

void same_facts(ProcessGroup& group) {
  require_equal(group, {{"the plan", "abc"}, {"the program", "1.0"}});
}

void other_facts(ProcessGroup& group) {
  require_equal(group, {{"the plan", "abc"},
                        {"the program", group.rank() == 1 ? "2.0" : "1.0"},
                        {"the data", group.rank() == 1 ? "x" : "y"}});
}

void nothing(ProcessGroup& group) { say("joined"); }

// What our launcher does with its children.

void throws(ProcessGroup& group) {
  while_others_wait(group, [&] {
    group.say_failed(2, "writing x: the disk is full");
    user_error("writing x: the disk is full");
  });
}

void all_throw(ProcessGroup& group) {
  group.barrier();
  user_error("reading the plan: no");
}

void exits(ProcessGroup& group) {
  while_others_wait(group, [] { std::_Exit(5); });
}

void speaks(ProcessGroup& group) {
  say(fmt::format("output of rank {}", group.rank()));
  const auto warn = [](const std::string& line) {
    fmt::print(stderr, "{}\n", line);
  };
  if (group.is_first()) return;
  warn("note: what all find");
  warn("warning: what only others find");
  warn("warning: what only others find");
}

void names_processes(ProcessGroup& group) {
  for (const auto& text : group.gather(std::to_string(::getpid()))) say(text);
  say("ready");
  ::sleep(300);
}

void threads(ProcessGroup& group) {
  const auto all = group.gather(fmt::format(
      "{} threads of {} cores", default_threads(), allowed_cores().size()));
  for (const std::string& text : all) say(text);
}

void shows_cache(ProcessGroup& group) {
  const char* cache = std::getenv("ANNULI_CACHE");
  for (const auto& text : group.gather(cache ? cache : "")) say(text);
}

volatile std::sig_atomic_t seen = 0;

// Each signal is asked for once, as by the program.
void take_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) { seen = signal; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    ::sigaction(signal, &action, nullptr);
  }
}

void waits_for_signal(ProcessGroup& group) {
  take_signals();
  group.barrier();
  if (group.is_first()) say("ready");
  for (int i = 0; i < 3000 && seen == 0; ++i) ::usleep(20'000);
  ::usleep(500'000);  // a second one would end it
  for (const auto& text : group.gather(std::to_string(seen))) say(text);
}

void goes_on_after_signal(ProcessGroup& group) {
  take_signals();
  group.barrier();
  if (group.is_first()) say("ready");
  while (seen == 0) ::usleep(20'000);
  group.barrier();
  if (group.is_first()) say("once");
  ::sleep(300);
}

// For one operation of those that are said to be there.
double timeout(const std::string& scenario) {
  if (scenario == "fails_before") return kLong;
  return scenario.find("stopped") == std::string::npos ? kBusy : kShort;
}

void run(const std::string& scenario) {
  const std::map<std::string, void (*)(ProcessGroup&)> scenarios = {
      {"operations", operations},
      {"begun_operations", begun_operations},
      {"count_bytes", count_bytes},
      {"other_shape", other_shape},
      {"other_type", other_type},
      {"other_operation", other_operation},
      {"killed", killed},
      {"stopped", stopped},
      {"killed_in_flight", killed_in_flight},
      {"stopped_in_flight", stopped_in_flight},
      {"failed", failed},
      {"first_failed", first_failed},
      {"first_killed", first_killed},
      {"first_stopped", first_stopped},
      {"fails_at_first", fails_at_first},
      {"throws_twice", throws_twice},
      {"same_facts", same_facts},
      {"other_facts", other_facts},
      {"throws", throws},
      {"all_throw", all_throw},
      {"exits", exits},
      {"speaks", speaks},
      {"names_processes", names_processes},
      {"threads", threads},
      {"shows_cache", shows_cache},
      {"waits_for_signal", waits_for_signal},
      {"goes_on_after_signal", goes_on_after_signal},
      {"fails_before", nothing},
      {"joins_soon", nothing},
      {"nothing", nothing},
  };
  if (scenario == "fails_before" && launch_environment().rank == 1) {
    user_error("opening the data: no");
  }
  const double start = scenario == "joins_soon" ? kShort : timeout(scenario);
  const auto group = join(launch_environment(), timeout(scenario), start);
  scenarios.at(scenario)(*group);
}

int fail(int status, const std::string& text,
         FailureOf whose = FailureOf::kThis) {
  if (!report_failure(status, text, whose)) fmt::print(stderr, "{}\n", text);
  return status;
}

int run_or_launch(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "nothing";
  if (argc == 4 && std::string(argv[2]) == "--processes") {
    launch(process_count(argv[3]), own_arguments_without("--processes"),
           timeout(scenario));
  } else {
    run(scenario);
  }
  return 0;
}

}  // namespace
}  // namespace annuli::parallel

int main(int argc, char** argv) {
  namespace parallel = annuli::parallel;
  try {
    return parallel::run_or_launch(argc, argv);
  } catch (const parallel::LaunchFailure& failure) {
    return parallel::fail(failure.status(), failure.what());
  } catch (const parallel::LostProcess& lost) {
    constexpr int kLost = 40;
    return parallel::fail(kLost + lost.status(), lost.what(),
                          parallel::FailureOf::kAnother);
  } catch (const annuli::UserError& error) {
    return parallel::fail(2, error.what());
  } catch (const annuli::VerdictError& error) {
    return parallel::fail(1, error.what());
  } catch (const std::exception& error) {
    return parallel::fail(3, error.what());
  }
}
