#include "tests/support/gguf_bytes.h"

#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/gguf/export_gguf.h"
#include "annuli/tokenizer/bytes_tokenizer.h"

namespace annuli::test {

std::string gguf_bytes(const Transformer& model, gguf::Type type) {
  const TestFolder folder;
  const gguf::SourceModel source = {
      .path = "tiny",
      .config_json = to_json(model.config()),
      .config = model.config(),
      .tensor =
          [&](const std::string& name) {
            return model.weight(
                static_cast<size_t>(find_row(model.table(), name)));
          },
      .release = [] {}};
  const BytesTokenizer tokenizer;
  gguf::export_gguf({.model = source, .tokenizer = tokenizer, .type = type},
                    folder / "tiny.gguf");
  return read_file(folder / "tiny.gguf");
}

std::string foreign(std::string bytes) {
  constexpr std::string_view kOurs = "annuli.";
  for (size_t at = bytes.find(kOurs); at != bytes.npos;
       at = bytes.find(kOurs, at)) {
    bytes.replace(at, kOurs.size(), "others.");
  }
  return bytes;
}

}  // namespace annuli::test
