#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "annuli/parallel/process_group.h"

// Small things that all processes of a group have to see alike. Each of these
// is collective, and gives the same on all processes.
namespace annuli::parallel {

// The text that the first process gives; what the others give is not looked at.
std::string of_first(ProcessGroup& group, std::string_view text);

// The highest of the numbers that the processes give.
int64_t highest(ProcessGroup& group, int64_t number);

// A VerdictError on all processes if they do not give one text: what was being
// done, which process has another text than the first, both, and what to try.
void require_same(ProcessGroup& group, std::string_view doing,
                  std::string_view text, std::string_view advice);

}  // namespace annuli::parallel
