#pragma once

#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/data/text_notes.h"

// Which files are read.
namespace annuli::data {

// The files that `inputs` name, each once, in order of first mention:
// - a file, by its path;
// - a folder: all files in it and below it whose names say that they are text
//   (text_format.h), sorted by path. Others are passed over, counted by their
//   suffixes in one note; so are readmes and licences beside other text, and
//   folders that are links, which could go round in circles. Hidden files and
//   folders are left out without a word;
// - a glob (* ? [..]): its matches, sorted, each a file or a folder.
// A UserError if an input names nothing, a folder without text (it lists what
// there is), or a file that is certainly none (text_format.h).
std::vector<fs::path> find_text_files(const std::vector<std::string>& inputs,
                                      TextNotes& notes);

}  // namespace annuli::data
