#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/input_paths.h"

// What a verb reads, and the single files that it writes beside its main
// output. A folder is looked after by OutputFolder, a run's by RunFolder.
namespace annuli::cli {

// The model and the tokenizer that it names.
void add_model(InputPaths& inputs, const std::string& what,
               const ModelFile& model);

// A tokenizer's path; "bytes" and "" are none.
void add_tokenizer(InputPaths& inputs, const std::string& tokenizer);

// UserError "DOING PATH: ..." if a file there is no output of ours (`is_ours`
// may throw UserError, which says no), or one that is read. A path that is free
// is well, and so is "".
void check_output_file(const std::string& doing, const fs::path& path,
                       const InputPaths& inputs,
                       const std::function<bool()>& is_ours);

// Before runs are shown on one page: UserError "DOING: ..." if they are too
// many, or if one begins with "~".
void check_runs(const std::string& doing, const std::vector<std::string>& runs);

// Whether a file is a JSON object that has these keys.
bool has_json_keys(const fs::path& path,
                   std::initializer_list<const char*> keys);

// Before a `.pt` is written: as check_output_file, and without `replace`
// nothing may stand there.
void check_pt_output(const fs::path& path, const InputPaths& inputs,
                     bool replace);

// The same before a `.gguf` is written.
void check_gguf_output(const fs::path& path, const InputPaths& inputs,
                       bool replace);

}  // namespace annuli::cli
