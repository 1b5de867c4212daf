# annuli_library(NAME core SRCS a.cpp b.cpp DEPS config fmt::fmt [TORCH]
#                [COLD])
#
# One folder, one static library `annuli_<NAME>`. DEPS name other folders
# (core, model, ...) or imported targets; what is not listed does not link.
# COLD is for folders in which no time is spent.
function(annuli_library)
  cmake_parse_arguments(ARG "TORCH;COLD" "NAME" "SRCS;DEPS" ${ARGN})
  set(target annuli_${ARG_NAME})
  add_library(${target} STATIC ${ARG_SRCS})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  annuli_compile_options(${target})
  annuli_link(${target} PUBLIC ${ARG_DEPS})
  if(ARG_COLD)
    annuli_compile_fast(${target})
  endif()
  if(ARG_TORCH)
    target_link_libraries(${target} PUBLIC annuli_torch)
    annuli_precompile(${target} torch)
  else()
    annuli_precompile(${target} plain)
  endif()
endfunction()

option(ANNULI_WARNINGS_AS_ERRORS "Refuse code that the compiler warns about" ON)

function(annuli_compile_options target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra $<$<BOOL:${ANNULI_WARNINGS_AS_ERRORS}>:-Werror>
    -Wno-unused-parameter
    -Wno-missing-field-initializers
    # GCC 12 sees the JSON library's walk over children leave values that have
    # none. Clang's builds keep the warning, the address sanitizer the check.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>
    # Sanitizers keep loops as they are, whatever a pragma asks for.
    $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>
    # A precompiled header's time would keep ccache from using its files.
    "$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>"
    $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# A third off the time to compile, for code that need not run fast.
function(annuli_compile_fast target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# Resolves folder names to their targets.
function(annuli_link target scope)
  foreach(dependency ${ARGN})
    if(TARGET annuli_${dependency})
      target_link_libraries(${target} ${scope} annuli_${dependency})
    else()
      target_link_libraries(${target} ${scope} ${dependency})
    endif()
  endforeach()
endfunction()

# Sets `result` to whether one of these folders is a TORCH library.
function(annuli_uses_torch result)
  set(${result} FALSE PARENT_SCOPE)
  foreach(dependency ${ARGN})
    if(TARGET annuli_${dependency})
      get_target_property(links annuli_${dependency} INTERFACE_LINK_LIBRARIES)
      if("annuli_torch" IN_LIST links)
        set(${result} TRUE PARENT_SCOPE)
      endif()
    endif()
  endforeach()
endfunction()
