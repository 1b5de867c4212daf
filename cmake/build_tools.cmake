# ccache makes rebuilds cheap; it is optional. Linking is the compiler's own
# linker's: mold 1.10 (Debian 12) laid out a program whose .tbss ends a page so
# that it could not be loaded.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # What ccache asks for to cache files that use precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()
