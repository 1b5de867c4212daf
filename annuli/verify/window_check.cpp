#include "annuli/verify/window_check.h"

namespace annuli::verify {

double run_window_checks(const ParentRecord& parent, const Probe& probe,
                         const Transformer& child, Dispatch dispatch,
                         const std::vector<WindowCheck*>& checks) {
  double loss = 0;
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    const WindowRecord window = record_window(child, probe.tokens[i], dispatch);
    for (WindowCheck* check : checks) check->see(parent.windows[i], window);
    loss += cross_entropy(window.logits, probe.targets[i]);
  }
  return loss / static_cast<double>(parent.windows.size());
}

}  // namespace annuli::verify
