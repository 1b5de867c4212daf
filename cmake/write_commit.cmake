# cmake -D SOURCES=folder -D OUT=file -P write_commit.cmake
#
# Writes the commit of the sources as a C string, "" without git; the file is
# touched only where that has changed.
execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_OPTIONAL_LOCKS=0 git -C ${SOURCES} describe --always --dirty
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
                ERROR_QUIET RESULT_VARIABLE failed)
# A tarball that was unpacked below another project is not that project's.
if(failed OR NOT EXISTS ${SOURCES}/.git)
  set(commit "")
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "\"\${commit}\"\n")
