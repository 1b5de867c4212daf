#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "annuli/core/file.h"
#include "annuli/data/text_notes.h"

// Documents, from the files that text_files.h finds.
//
// plain     the file is one document, its bytes as they are but for a byte
//           order mark at its front
// lines     one document per line: the string in the field `column`; blank
//           lines are skipped (json_line.h)
// Parquet   one document per row of the column `column`; rows that are null are
//           passed over (parquet_text.h)
//
// A plain document is held in memory as a whole, lines one by one, Parquet a
// page at a time.
namespace annuli::data {

struct TextOptions {
  std::string column = "text";
};

// Calls `use` with every document of one file in order; empty ones too. A
// UserError names the file, and the line or the column.
void for_each_document(const fs::path& path, const TextOptions& options,
                       TextNotes& notes,
                       const std::function<void(std::string_view)>& use);

}  // namespace annuli::data
