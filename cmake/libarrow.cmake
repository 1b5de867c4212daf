# Apache Arrow's Parquet reader from the pyarrow wheel: two libraries and their
# headers, which any g++ with the new ABI of std::string links.
#
# ANNULI_ARROW_DIR is the folder that holds `include/` and `lib/`; tools/setup
# makes it and leaves a link to it in build/arrow. An installed pyarrow does too,
# which has the libraries beside `include/`. Target: annuli_arrow.
set(ANNULI_ARROW_DIR "${PROJECT_SOURCE_DIR}/build/arrow" CACHE PATH
    "Folder with Arrow's include/ and lib/ (tools/setup makes it)")
set(arrow_lib "${ANNULI_ARROW_DIR}/lib")
if(NOT IS_DIRECTORY "${arrow_lib}")
  set(arrow_lib "${ANNULI_ARROW_DIR}")
endif()
set(arrow_libraries
  "${arrow_lib}/libparquet.so.2600" "${arrow_lib}/libarrow.so.2600")
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
  -Wl,--disable-new-dtags,-rpath,${arrow_lib})
target_link_libraries(annuli_arrow INTERFACE ${arrow_libraries})
