#include "annuli/kernels/threads.h"

#include <ATen/Parallel.h>

#include "annuli/core/error.h"

namespace annuli::kernels {

void set_num_threads(int threads) {
  if (threads < 1) {
    user_error("setting threads: found {}, expected 1 or more", threads);
  }
  at::set_num_threads(threads);
  if (at::get_num_interop_threads() != 1) at::set_num_interop_threads(1);
}

int num_threads() { return at::get_num_threads(); }

}  // namespace annuli::kernels
