# How all own code is instrumented; the presets `asan` and `tsan` set these.
#
#   ANNULI_SANITIZE   sanitizers, as in address,undefined; or empty
#   ANNULI_COVERAGE   count which lines run (clang; tools/coverage)
#   ANNULI_FUZZ       report branches to libFuzzer (clang; tools/fuzz)
#
# The code sees ANNULI_SANITIZED: memory and speed are then not what they are.
set(ANNULI_SANITIZE "" CACHE STRING
    "Comma-separated sanitizers for all own code, or empty")
option(ANNULI_COVERAGE "Count which lines run (needs clang)" OFF)
option(ANNULI_FUZZ "Build the libFuzzer programs (needs clang)" OFF)

if(ANNULI_SANITIZE)
  add_compile_options(-fsanitize=${ANNULI_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${ANNULI_SANITIZE})
  add_compile_definitions(ANNULI_SANITIZED)
endif()
if(ANNULI_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()
if(ANNULI_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
