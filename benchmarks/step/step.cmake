# The training benchmark's C++ contestants, and the library that gives MKL's
# fast path to the tuned Python ones; see benchmarks/bench.py.
add_executable(annuli_step_bench
  benchmarks/step/bandwidth.cpp benchmarks/step/gemm_routes.cpp
  benchmarks/step/phases.cpp benchmarks/step/speed_of_light.cpp
  benchmarks/step/step_bench.cpp benchmarks/step/stepper.cpp)
annuli_compile_options(annuli_step_bench)
set_target_properties(annuli_step_bench PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
annuli_link(annuli_step_bench PRIVATE core parallel config kernels tokenizer data model
  checkpoint train run mkl_dispatch CLI11::CLI11)
annuli_precompile(annuli_step_bench torch)

add_library(annuli_mkl_preload SHARED
  annuli/kernels/cpu/mkl_dispatch.cpp)
set_target_properties(annuli_mkl_preload PROPERTIES
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
