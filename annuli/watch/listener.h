#pragma once

#include <string>

#include "annuli/watch/request_check.h"

// The port that a server listens at. Move-only; closed at its end.
namespace annuli::watch {

constexpr int kUsualPort = 8642;

class Listener {
 public:
  // Port 0: one that is free. UserError, one line, if there is no such address
  // or the port is taken.
  Listener(const std::string& host, int port);
  // One that the process before had made, whose `host` was this.
  static Listener inherited(const std::string& host, int descriptor);
  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;

  int descriptor() const { return descriptor_; }
  // Leaves closing it to whoever takes it.
  int release();

  int port() const { return port_; }
  std::string address() const;  // "http://127.0.0.1:8642/"
  // Whether only this machine can reach it.
  bool is_local() const { return local_; }
  ServedAt served_at() const;

 private:
  explicit Listener(std::string host) : host_(std::move(host)) {}
  void look_at_address();

  std::string host_;
  int port_ = 0;
  int descriptor_ = -1;
  bool local_ = false;
  bool any_ = false;
};

}  // namespace annuli::watch
