#pragma once

// What the terminal behind standard output (1) or standard error (2) can show.
namespace annuli {

// It can redraw its line: a terminal, and TERM is not "dumb" or missing.
bool is_terminal(int descriptor);

// The same, and NO_COLOR is not set or empty (no-color.org).
bool shows_color(int descriptor);

// In columns; 80 where it does not say.
int terminal_width(int descriptor);

}  // namespace annuli
