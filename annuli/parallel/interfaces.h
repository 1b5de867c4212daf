#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The network as this host sees it.
namespace annuli::parallel {

struct Interface {
  std::string name;     // "eth0"
  std::string address;  // of IPv4
  bool loopback = false;
};

// Those that are up and have an address.
std::vector<Interface> interfaces();

// The own address from which packets to `host` leave; "" if there is no such
// host or no way to it. Nothing is sent.
std::string address_towards(const std::string& host, uint16_t port);

bool is_loopback(const std::string& address);

}  // namespace annuli::parallel
