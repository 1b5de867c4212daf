# Decoding against the read bandwidth; see decode_bench.cpp.
add_executable(annuli_decode_bench EXCLUDE_FROM_ALL
  ${CMAKE_CURRENT_LIST_DIR}/decode_bench.cpp
  ${CMAKE_CURRENT_LIST_DIR}/measures.cpp)
annuli_compile_options(annuli_decode_bench)
set_target_properties(annuli_decode_bench PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
annuli_link(annuli_decode_bench PRIVATE core config kernels model checkpoint
  generate mkl_dispatch)
annuli_precompile(annuli_decode_bench torch)
