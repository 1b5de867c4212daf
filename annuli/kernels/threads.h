#pragma once

// The process's worker threads, those of our own loops and of the matrix
// products alike.
namespace annuli::kernels {

// First thing in main: sizes the pool before any operator creates it. Two
// operators never run at once (interop 1), so results depend on the order of
// the calls only.
void set_num_threads(int threads);

int num_threads();

// Runs a short loop of this library's own and counts the threads that took
// part. 1 although num_threads() is larger means that the library was compiled
// without OpenMP: its loops are silently serial.
int threads_in_use();

}  // namespace annuli::kernels
