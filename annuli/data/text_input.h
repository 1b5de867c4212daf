#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/file.h"

// Where text comes from.
//
// .txt, .txt.gz      the file is one document, its bytes as they are
// .jsonl, .jsonl.gz  one document per line: the string in its "text" field;
//                    blank lines are skipped
//
// A .txt document is held in memory as a whole, .jsonl line by line.
namespace annuli::data {

// The files that `inputs` name, each once, in order of first mention:
// - a file, by its path;
// - a folder: all files with one of the suffixes above in it and below it,
//   sorted by path, hidden ones left out;
// - a glob (* ? [..]): its matches, sorted, each a file or a folder.
// A UserError if an input names nothing, or a file of another kind.
std::vector<fs::path> find_text_files(const std::vector<std::string>& inputs);

// "txt" or "jsonl", packed or not.
std::string_view text_kind(const fs::path& path);

// Calls `use` with every document of one file in order; empty ones too. A
// UserError names the file, and the line in .jsonl (counted from 1).
void for_each_document(const fs::path& path,
                       const std::function<void(std::string_view)>& use);

}  // namespace annuli::data
