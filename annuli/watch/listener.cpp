#include "annuli/watch/listener.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli::watch {
namespace {

constexpr int kMostWaiting = 256;  // connections that nobody has taken yet

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses addresses_of(const std::string& host, int port) {
  addrinfo wanted = {};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(),
                                  &wanted, &found);
  if (error != 0) {
    user_error("--host {}: {}; expected an address of this machine",
               quote(host), ::gai_strerror(error));
  }
  return {found, &::freeaddrinfo};
}

// -1 where it fails, with the reason in errno. Closed on exec.
int listening(const addrinfo& at) {
  const int descriptor =
      ::socket(at.ai_family, at.ai_socktype | SOCK_CLOEXEC, at.ai_protocol);
  if (descriptor < 0) return -1;
  // Connections that have ended keep nobody from the port; a server that runs
  // does.
  const int on = 1;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(descriptor, at.ai_addr, at.ai_addrlen) == 0 &&
      ::listen(descriptor, kMostWaiting) == 0) {
    return descriptor;
  }
  const int reason = errno;
  ::close(descriptor);
  errno = reason;
  return -1;
}

}  // namespace

Listener::Listener(const std::string& host, int port) : host_(host) {
  const Addresses addresses = addresses_of(host, port);
  for (const addrinfo* at = addresses.get(); at != nullptr && descriptor_ < 0;
       at = at->ai_next) {
    descriptor_ = listening(*at);
  }
  if (descriptor_ < 0 && errno == EADDRINUSE) {
    user_error(
        "listening at {}, port {}: another program has it; give another with "
        "--port, or --port 0 for any that is free",
        host, port);
  }
  if (descriptor_ < 0) {
    user_error("listening at {}, port {}: {}", host, port,
               std::strerror(errno));
  }
  look_at_address();
}

Listener Listener::inherited(const std::string& host, int descriptor) {
  Listener listener(host);
  listener.descriptor_ = descriptor;
  listener.look_at_address();
  return listener;
}

Listener::~Listener() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Listener::Listener(Listener&& other) noexcept
    : host_(std::move(other.host_)),
      port_(other.port_),
      descriptor_(other.release()),
      local_(other.local_),
      any_(other.any_) {}

int Listener::release() { return std::exchange(descriptor_, -1); }

void Listener::look_at_address() {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address),
                    &size) != 0) {
    user_error("listening at {}: {}", host_, std::strerror(errno));
  }
  if (address.ss_family == AF_INET6) {
    const auto& at = reinterpret_cast<const sockaddr_in6&>(address);
    port_ = ntohs(at.sin6_port);
    local_ = IN6_IS_ADDR_LOOPBACK(&at.sin6_addr);
    any_ = IN6_IS_ADDR_UNSPECIFIED(&at.sin6_addr);
  } else {
    const auto& at = reinterpret_cast<const sockaddr_in&>(address);
    port_ = ntohs(at.sin_port);
    const uint32_t number = ntohl(at.sin_addr.s_addr);
    constexpr uint32_t kLoopbackNet = 127;
    local_ = number >> 24 == kLoopbackNet;
    any_ = number == INADDR_ANY;
  }
}

std::string Listener::address() const {
  const std::string host = any_ ? served_at().machine : host_;
  const bool brackets = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}/",
                     brackets ? fmt::format("[{}]", host) : host, port_);
}

ServedAt Listener::served_at() const {
  std::array<char, 256> machine = {};
  ::gethostname(machine.data(), machine.size() - 1);
  return {.host = host_,
          .port = port_,
          .any = any_,
          .machine = machine[0] == 0 ? "localhost" : machine.data()};
}

}  // namespace annuli::watch
