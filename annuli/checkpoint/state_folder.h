#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/file.h"

// Where the states of a run lie and what their files are called
// (training_state.h has what is in them): folders 000001, 000002 ... side by
// side; `.tmp-000003` while one is written, `.damaged-000002` once one was set
// aside.
//
// Guarantees: a folder gets its number in one rename, after all that it holds
// is safe on the disk. Names that are not of this kind are never touched.
namespace annuli {

inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kStateModel = "model";
inline constexpr const char* kStateOptimizer = "optimizer";

// "model.safetensors", or of the part of process `rank` of several
// "model-00001-of-00002.safetensors".
std::string state_file_name(std::string_view what, int64_t rank, int64_t size);
// Whether it is one that `state_file_name` gives for `what`.
bool is_state_file_of(std::string_view what, std::string_view name);

bool is_one_state(const fs::path& folder);
// True for a folder of states and for one state.
bool is_training_state(const fs::path& folder);

// Of a folder of states, newest first; of one state, itself.
std::vector<fs::path> states_of(const fs::path& folder);

// Whether a save, or `set_aside`, gives such a name: a path below a folder of
// states, "000007/state.json", with a `/` at its end for an empty folder.
bool is_state_path(std::string_view path);

// An empty folder for the next state, "<folder>/.tmp-000007"; removes what
// interrupted saves left.
fs::path make_unfinished_state(const fs::path& folder);
void remove_unfinished_states(const fs::path& folder);

// Gives such a folder its number, and then removes all but the `keep` newest
// states and what was set aside.
void put_state_in_place(const fs::path& made, int64_t keep);

// Renames a damaged state, so that it is named once and not met again.
void set_aside(const fs::path& damaged);

}  // namespace annuli
