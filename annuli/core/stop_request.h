#pragma once

#include <atomic>

// A wish, from a signal's handler, that the program end as soon as it can do so
// in order. Whoever works for long asks at points where he can stop.
namespace annuli {

namespace detail {
inline std::atomic<int> stop_signal = 0;
}  // namespace detail

// Safe within a signal handler. 0 takes it back.
inline void request_stop(int signal) noexcept { detail::stop_signal = signal; }

// The signal that asked for it; 0: none did.
inline int stop_requested() noexcept { return detail::stop_signal; }

}  // namespace annuli
