#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Which requests the server answers, and what it says to the others. The head
// of a request is judged here before anything else reads it; of what may pass
// only the first line is passed on, so that no header has any effect.
namespace annuli::watch {

constexpr size_t kLongestHead = 32768;  // other servers' cookies come too

// Where the server is, as the header Host has to say. A page of another site
// that makes its name point to this machine is told apart by it.
struct ServedAt {
  std::string host;  // as the user gave it, without brackets
  int port = 0;
  bool any = false;     // all addresses of this machine
  std::string machine;  // its name, which counts with `any`
};

// Loopback addresses, "localhost" and the given host, each with the port (it
// may be left out if it is 80); with `any` every address that is a number.
bool is_served_host(std::string_view host, const ServedAt& at);

struct Refusal {
  int status = 0;
  std::string reason;  // one line

  bool operator==(const Refusal&) const = default;
};

// Of a head as it came, with the empty line at its end. Nothing if it may pass:
// GET or HEAD, of one of the paths that there are, one Host, nothing but text.
std::optional<Refusal> refusal_of(std::string_view head, const ServedAt& at);

// The whole response.
std::string response_of(const Refusal& refusal);

// What the server reads of a head that may pass.
std::string passed_on(std::string_view head);

// The digits of a number from 0 to 10^15; nothing for any other text.
std::optional<int64_t> number_of(std::string_view text);

}  // namespace annuli::watch
