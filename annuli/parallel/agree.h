#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/parallel/process_group.h"

// Small things that all processes of a group have to see alike. Each of these
// is collective, and gives the same on all processes.
namespace annuli::parallel {

// The text that the first process gives; what the others give is not looked at.
std::string of_first(ProcessGroup& group, std::string_view text);

// The highest of the numbers that the processes give.
int64_t highest(ProcessGroup& group, int64_t number);

// The numbers of all processes, bit for bit, in their order. How many each
// gives may differ.
std::vector<std::vector<double>> gather_numbers(ProcessGroup& group,
                                                const std::vector<double>& own);

// The first rank whose text is not that of rank 0; 0 if all are the same.
size_t rank_that_differs(const std::vector<std::string>& texts);

// A VerdictError on all processes if they do not give one text: what was being
// done, which process has another text than the first, both, and what to try.
void require_same(ProcessGroup& group, std::string_view doing,
                  std::string_view text, std::string_view advice);

// What must be the same in all processes: a name and a value each, in the same
// order ("the plan", its hash). UserError on all of them, which names two
// processes and the first value that differs.
using Facts = std::vector<std::pair<std::string, std::string>>;
void require_equal(ProcessGroup& group, const Facts& facts);

}  // namespace annuli::parallel
