#pragma once

#include <exception>
#include <string>

namespace annuli::cli {

// How the program ends after an error: the exit status, and one line for
// standard error (which may still hold line breaks of a library's text).
//
//   0  done
//   1  a check of the model failed (VerdictError)
//   2  the input is wrong, or the machine lacks something
//   3  a bug
//   128 + N  stopped by signal N
//
// Of several processes, one that another has left ends with the other's status.
struct Ending {
  int status = 0;
  std::string text;
  bool of_another = false;  // it ends because another process has
};

inline constexpr int kDone = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kInputWrong = 2;
inline constexpr int kBug = 3;

Ending ending_of(const std::exception_ptr& error);

}  // namespace annuli::cli
