find_package(benchmark REQUIRED)
add_executable(annuli_tokenizer_bench EXCLUDE_FROM_ALL
  ${CMAKE_CURRENT_LIST_DIR}/tokenizer_bench.cpp)
annuli_compile_options(annuli_tokenizer_bench)
annuli_link(annuli_tokenizer_bench PRIVATE tokenizer benchmark::benchmark)
