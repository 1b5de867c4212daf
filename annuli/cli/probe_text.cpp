#include "annuli/cli/probe_text.h"

namespace annuli::cli {

const std::vector<ProbeDocument>& probe_text() {
  static const std::vector<ProbeDocument> documents = {
#include "probe_text.inc"
  };
  return documents;
}

}  // namespace annuli::cli
