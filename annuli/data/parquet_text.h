#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "annuli/core/file.h"

// Text in Parquet files, read by Apache Arrow.
//
// Arrow's libraries are loaded with the first Parquet file, not with the
// program: that takes them 9 ms and 15 MB (docs/log.md). All that is compiled
// against them is one library, `annuli_parquet` (parquet_library.h).
namespace annuli::data {

// Calls `use` with each row of a top-level column of strings or bytes, in
// order; with nothing for a row that is null. Only this column is read, a page
// at a time.
//
// UserErrors: a damaged or encrypted file, and a column that is not there or
// holds no text, with the list of those that do.
void for_each_parquet_text(
    const fs::path& path, const std::string& column,
    const std::function<void(std::optional<std::string_view>)>& use);

}  // namespace annuli::data
