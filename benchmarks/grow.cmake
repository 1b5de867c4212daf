# Growth from disk to disk against cp; see grow_bench.cpp.
add_executable(annuli_grow_bench EXCLUDE_FROM_ALL benchmarks/grow_bench.cpp)
target_compile_definitions(annuli_grow_bench PRIVATE
  ANNULI_PROGRAM="$<TARGET_FILE:annuli>")
set_target_properties(annuli_grow_bench PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_dependencies(annuli_grow_bench annuli)
annuli_link(annuli_grow_bench PRIVATE core config kernels model checkpoint
  mkl_dispatch)
