#include "annuli/run/program_commit.h"

namespace annuli::run {

const char* program_commit() {
  return
#include "program_commit.inc"
      ;
}

}  // namespace annuli::run
