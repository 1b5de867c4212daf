#pragma once

// What the Python module loads by ctypes: two functions with C's linkage.
// Nothing is thrown across them.
extern "C" {

// call: {"do": "open", ...} gives a growth's number; with {"growth": number}
// "lay_out", "place", "look", "make", "prove", "record" (memory_growth.h) and
// "close". Gives back {"result": ...} or {"error": "user", "verdict" or "bug",
// "line": one line}, to be given to `annuli_free`. Any thread may call; the
// calls of one growth come one after the other.
char* annuli_call(const char* call);
void annuli_free(char* answer);
}
