#pragma once

#include <string>

#include "annuli/core/error.h"

namespace annuli::test {

// The text of the UserError that `action` throws; "" if it throws none.
template <typename Action>
std::string user_error_of(Action&& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace annuli::test
