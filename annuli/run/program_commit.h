#pragma once

namespace annuli::run {

// The commit that the program was built from, as `git describe --always
// --dirty` has it; "" where the sources were not under git.
const char* program_commit();

}  // namespace annuli::run
