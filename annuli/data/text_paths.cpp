#include "annuli/data/text_paths.h"

#include "annuli/data/text_files.h"

namespace annuli::data {

void add_text(InputPaths& paths, const std::string& what,
              const std::vector<std::string>& inputs) {
  if (inputs.empty()) return;
  for (const std::string& input : inputs) paths.add(what, input);
  TextNotes said_when_read;
  for (const fs::path& file : find_text_files(inputs, said_when_read)) {
    paths.add(what, file);
  }
}

}  // namespace annuli::data
