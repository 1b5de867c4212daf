#pragma once

#include <string_view>
#include <vector>

namespace annuli::cli {

struct ProbeDocument {
  std::string_view name;  // of its file in probe_text/
  std::string_view text;  // UTF-8
};

// The text that the program carries, for proofs without --text: some 28 kB of
// prose in about twenty languages, code and numbers. Where it is from stands in
// probe_text/README.md.
const std::vector<ProbeDocument>& probe_text();

}  // namespace annuli::cli
