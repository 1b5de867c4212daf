#include "annuli/parallel/rendezvous.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"
#include "annuli/parallel/background_group.h"
#include "annuli/parallel/c10d_group.h"
#include "annuli/parallel/interfaces.h"
#include "annuli/parallel/peer.h"

namespace annuli::parallel {
namespace {

using std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;

std::string place_of(const LaunchEnvironment& at) {
  return at.address.empty() ? at.store_file
                            : fmt::format("{}:{}", at.address, at.port);
}

bool serves(const LaunchEnvironment& at) {
  return !at.address.empty() && at.rank == 0 && !at.launcher_serves;
}

// The folder of a file that other users must not make before us.
void require_private_folder(const std::filesystem::path& folder) {
  struct stat status = {};
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    user_error("joining the other processes: making {}: {}", folder.string(),
               std::strerror(errno));
  }
  if (::stat(folder.c_str(), &status) != 0 || status.st_uid != ::getuid() ||
      (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    user_error(
        "joining the other processes: found {}, which others can write, "
        "expected a folder of this user alone; set TMPDIR to one",
        folder.string());
  }
}

Store file_store(const LaunchEnvironment& at) {
  require_private_folder(std::filesystem::path(at.store_file).parent_path());
  return c10::make_intrusive<c10d::FileStore>(at.store_file,
                                              static_cast<int>(at.size));
}

[[noreturn]] void cannot_serve(const LaunchEnvironment& at,
                               const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  if (text.find("EADDRINUSE") != std::string::npos) {
    user_error(
        "joining the other processes: port {} is in use on {}; set MASTER_PORT "
        "to a free one, for all of them",
        at.port, this_process(at.size).host);
  }
  user_error("joining the other processes at {}: {}", place_of(at),
             one_line(text));
}

Store tcp_store(const LaunchEnvironment& at, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = at.port;
  options.isServer = serves(at);
  options.waitWorkers = false;
  options.timeout = timeout;
  auto made = std::make_shared<Store>();
  try {
    const bool done = done_within(timeout, [made, options, at] {
      *made = c10::make_intrusive<c10d::TCPStore>(at.address, options);
    });
    if (done) return *made;
  } catch (const c10::Error& error) {
    if (options.isServer) cannot_serve(at, error);
  }
  user_error(
      "joining the other processes: rank {} on {} got no answer from {} within "
      "{:g} s; does rank 0 run there, and does this host reach it?",
      at.rank, this_process(at.size).host, place_of(at),
      static_cast<double>(timeout.count()) / 1000);
}

Store store_of(const LaunchEnvironment& at, milliseconds timeout) {
  const Store store =
      at.address.empty() ? file_store(at) : tcp_store(at, timeout);
  store->setTimeout(timeout);
  return c10::make_intrusive<c10d::PrefixStore>("annuli/" + at.attempt, store);
}

std::string names_of(const std::vector<Interface>& all) {
  std::vector<std::string> names;
  for (const Interface& one : all) names.push_back(one.name);
  std::ranges::sort(names);
  return fmt::format("{}", fmt::join(names, ", "));
}

void listen_at(const LaunchEnvironment& at, GroupOptions& options) {
  const std::vector<Interface> all = interfaces();
  const char* chosen = std::getenv("GLOO_SOCKET_IFNAME");
  if (chosen != nullptr && *chosen != '\0') {
    if (std::ranges::find(all, chosen, &Interface::name) == all.end()) {
      user_error(
          "joining the other processes: found GLOO_SOCKET_IFNAME={}, expected "
          "a network interface of {} that is up: {}",
          quote(chosen), this_process(at.size).host, names_of(all));
    }
    options.interface = chosen;
    return;
  }
  options.address = "127.0.0.1";
  if (at.address.empty()) return;
  const std::string towards = address_towards(at.address, at.port);
  if (!towards.empty()) options.address = towards;
  if (at.one_host() || !is_loopback(options.address)) return;
  // The host's own name may stand for 127.0.0.1, where no other host comes to.
  std::vector<Interface> outer = all;
  std::erase_if(outer, [](const Interface& one) { return one.loopback; });
  if (outer.size() != 1) {
    user_error(
        "joining the other processes: {} can be reached at several addresses, "
        "or at none; set GLOO_SOCKET_IFNAME to one of {}",
        this_process(at.size).host, names_of(all));
  }
  options.address = outer[0].address;
}

}  // namespace

std::shared_ptr<Board> meeting_board(const LaunchEnvironment& environment,
                                     milliseconds limit) {
  return std::make_shared<Board>(store_of(environment, limit),
                                 place_of(environment), serves(environment),
                                 limit);
}

std::unique_ptr<ProcessGroup> join(const LaunchEnvironment& environment,
                                   double timeout, double start) {
  ANNULI_CHECK(environment.size > 1, "a group of {}", environment.size);
  const auto seconds = [](double number) {
    return milliseconds(static_cast<int64_t>(number * 1000));
  };
  GroupOptions options = {.rank = environment.rank,
                          .size = environment.size,
                          .timeout = seconds(timeout),
                          .start_timeout = seconds(start)};
  listen_at(environment, options);
  quiet_c10d();
  const auto board = meeting_board(environment, options.start_timeout);
  return in_background(c10d_group(board, options));
}

}  // namespace annuli::parallel
