#include "annuli/parallel/begun.h"

namespace annuli::parallel {

Begun begin_now(ProcessGroup& group, Operations operations) {
  std::packaged_task<void()> task([&] { operations(group); });
  Begun begun(task.get_future());
  task();
  return begun;
}

}  // namespace annuli::parallel
