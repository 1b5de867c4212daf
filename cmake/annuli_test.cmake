# annuli_test(NAME core_test SRCS rng_test.cpp file_test.cpp DEPS core)
#
# One GoogleTest program per folder; every TEST is a CTest test of its own
# name, so `ctest -R Rng` finds it. TIMEOUT in seconds, 120 unless given.
include(GoogleTest)

function(annuli_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(ANNULI_SANITIZE)
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")
  endif()
  set(target annuli_${ARG_NAME})
  add_executable(${target} ${ARG_SRCS})
  annuli_compile_options(${target})
  annuli_compile_fast(${target})
  annuli_link(${target} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gmock
    GTest::gtest_main)
  if(TARGET annuli_mkl_dispatch)
    # The same MKL code paths as in the program.
    target_link_libraries(${target} PRIVATE annuli_mkl_dispatch)
  endif()
  annuli_uses_torch(uses_torch ${ARG_DEPS})
  if(uses_torch)
    annuli_precompile(${target} torch_test)
  else()
    annuli_precompile(${target} plain_test)
  endif()
  # Parameters have names; printing their values would put addresses into the
  # names of tests.
  gtest_discover_tests(${target} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${ARG_TIMEOUT}
    # Several tests share the cores: waiting threads must not spin.
    ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
