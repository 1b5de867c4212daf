#pragma once

#include <memory>

#include "annuli/parallel/process_group.h"

// A group whose begun operations are carried out by a thread of its own, while
// the caller computes.
//
// Guarantees: the operations of the other group are called one at a time, in
// the order in which they were called or begun here: who calls one waits for
// all that were begun before. The thread uses one core, so that it takes
// nothing from the caller's threads but the time of what it does.
//
// No deadlock, if all processes call and begin the same operations in the same
// order, and what is begun waits for nothing but its operations: of the
// operations that are not complete everywhere, take the first. Each process has
// completed all before it, so its caller waits for none of them; it comes to
// begin this one, and its thread has nothing else to do.
//
// Errors: what an operation throws is thrown to who waits for it. The group is
// dead then, and each later operation says so by itself.
namespace annuli::parallel {

std::unique_ptr<ProcessGroup> in_background(
    std::unique_ptr<ProcessGroup> group);

}  // namespace annuli::parallel
