# annuli_embed_files(OUT data.inc FILES a.txt b.txt)
#
# Writes `data.inc`, to be included between the braces of a list: for each file
# {"a.txt", {"bytes", size}}. It is written anew where a file has changed.
function(annuli_embed_files)
  cmake_parse_arguments(ARG "" "OUT" "FILES" ${ARGN})
  set(entries "")
  foreach(file ${ARG_FILES})
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
      OUTPUT_VARIABLE path)
    cmake_path(GET path FILENAME name)
    file(READ ${path} bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
    string(APPEND entries "{\"${name}\", {\"${bytes}\", ${size}}},\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
  endforeach()
  file(CONFIGURE OUTPUT ${ARG_OUT} CONTENT "${entries}" @ONLY)
endfunction()
