#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

// `annuli run PLAN --processes N`: starts N processes of this very program on
// this host, which meet in a file of a private folder, and waits for them.
//
// The cores that this process may use are divided equally among them; with
// fewer cores than processes each may run on all, with one thread. SIGINT,
// SIGTERM and SIGUSR1 are passed on, once each time. What rank 0 prints is
// printed; of the others, what they print on standard error, each line once and
// with the rank, without notices, which rank 0 has too.
//
// After the first failure the others have `timeout` and two seconds to end by
// themselves, and two seconds once one has waited for the timeout; then they
// are killed. One line says what failed (LaunchFailure). An own error of a
// process comes before that of one that was killed by a signal, and that before
// an error of one that has lost another.
namespace annuli::parallel {

// `status` is what to exit with; the text is the line to print.
class LaunchFailure : public std::runtime_error {
 public:
  LaunchFailure(int status, const std::string& text)
      : std::runtime_error(text), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// A number of processes, as a user writes it: a power of two up to 4096.
// UserError for anything else.
int64_t process_count(const std::string& text);

// The arguments of this process without an option that has a value, in both
// forms, "--name 2" and "--name=2".
std::vector<std::string> own_arguments_without(const std::string& option);

// Returns when all have ended with 0. Throws LaunchFailure; UserError if they
// cannot be started, or if this process is itself one of several. Ends this
// process by the same signal if one that was passed on has ended them.
void launch(int64_t processes, const std::vector<std::string>& arguments,
            double timeout);

}  // namespace annuli::parallel
