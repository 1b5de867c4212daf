#include "annuli/data/parquet_text.h"

#include <dlfcn.h>

#include <memory>
#include <stdexcept>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/data/parquet/parquet_library.h"

namespace annuli::data {
namespace {

AnnuliOpenParquet load_library() {
  // Never unloaded: exceptions and vtables point into it.
  void* library = ::dlopen(ANNULI_PARQUET_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  void* entry =
      library == nullptr ? nullptr : ::dlsym(library, "annuli_open_parquet");
  if (entry == nullptr) {
    user_error(
        "loading the reader of Parquet files: {}; try: make build, or with "
        "the Python package: pip install 'annuli[parquet]'",
        one_line(::dlerror()));
  }
  return reinterpret_cast<AnnuliOpenParquet>(entry);
}

// What `call` gives; a failure in it is the file's: a runtime_error says what
// was found, anything else comes from Arrow.
auto reading(const fs::path& path, auto&& call) {
  try {
    return call();
  } catch (const std::runtime_error& error) {
    user_error("reading {}: {}", path.string(), one_line(error.what()));
  } catch (const std::exception& error) {
    std::string_view reason = error.what();
    reason = reason.substr(0, reason.find('\n'));
    user_error("reading {}: {}; the file is damaged or cut short",
               path.string(), one_line(reason));
  }
}

}  // namespace

void for_each_parquet_text(
    const fs::path& path, const std::string& column,
    const std::function<void(std::optional<std::string_view>)>& use) {
  static const AnnuliOpenParquet open = load_library();
  const std::unique_ptr<ParquetColumn> rows = reading(path, [&] {
    return std::unique_ptr<ParquetColumn>(open(path.c_str(), column.c_str()));
  });
  while (true) {
    const auto texts = reading(path, [&] { return rows->next(); });
    if (texts.empty()) return;
    for (const auto& text : texts) use(text);
  }
}

}  // namespace annuli::data
