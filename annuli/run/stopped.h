#pragma once

#include <stdexcept>
#include <string>

namespace annuli::run {

// A run that ended because a signal asked it to, with its state on disk. `main`
// prints the text, which says how to go on, and exits with 128 + signal.
class Stopped : public std::runtime_error {
 public:
  Stopped(int signal, const std::string& text)
      : std::runtime_error(text), signal_(signal) {}
  int signal() const { return signal_; }

 private:
  int signal_;
};

}  // namespace annuli::run
