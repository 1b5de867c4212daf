# Apache Arrow's Parquet reader from the pyarrow wheel: two libraries and their
# headers, which any g++ with the new ABI of std::string links.
#
# ANNULI_ARROW_DIR is the folder that holds `include/` and `lib/`; tools/setup
# makes it and leaves a link to it in build/arrow. Target: annuli_arrow.
set(ANNULI_ARROW_DIR "${PROJECT_SOURCE_DIR}/build/arrow" CACHE PATH
    "Folder with Arrow's include/ and lib/ (tools/setup makes it)")
set(arrow_libraries
  "${ANNULI_ARROW_DIR}/lib/libparquet.so.2600"
  "${ANNULI_ARROW_DIR}/lib/libarrow.so.2600")
foreach(library ${arrow_libraries})
  if(NOT EXISTS "${library}")
    message(FATAL_ERROR
      "configuring: no '${library}'; run `make setup`, or pass the folder that "
      "holds Arrow's include/ and lib/ with -DANNULI_ARROW_DIR=...")
  endif()
endforeach()

add_library(annuli_arrow INTERFACE)
target_include_directories(annuli_arrow SYSTEM INTERFACE
  "${ANNULI_ARROW_DIR}/include")
target_link_options(annuli_arrow INTERFACE
  -Wl,--disable-new-dtags,-rpath,${ANNULI_ARROW_DIR}/lib)
target_link_libraries(annuli_arrow INTERFACE ${arrow_libraries})
