# What most of our files read first (Tensor.h and its operators, the JSON
# library, GoogleTest) is two thirds of the time they compile. It is compiled
# once for each kind of target. A file that is compiled with other flags reads
# it as text.
#
#   kind     for                       holds
#   plain    libraries without LibTorch    JSON, fmt, the standard library
#   torch    libraries with LibTorch       the same and Tensor.h
#   plain_test, torch_test                 each and GoogleTest
# Code that the program and a shared library (annuli/python) are both made of.
# Without the second flag functions that another library could replace would not
# be inlined; none is replaced.
function(annuli_relocatable target)
  target_compile_options(${target} PRIVATE -fPIC -fno-semantic-interposition)
endfunction()

function(annuli_headers kind)
  cmake_parse_arguments(ARG "" "" "DEPS;HEADERS" ${ARGN})
  set(target annuli_headers_${kind})
  add_library(${target} STATIC
    ${PROJECT_SOURCE_DIR}/cmake/precompiled_headers.cpp)
  annuli_compile_options(${target})
  target_link_libraries(${target} PUBLIC fmt::fmt nlohmann_json::nlohmann_json
    ${ARG_DEPS})
  if(NOT kind MATCHES "_test$")
    annuli_relocatable(${target})
  endif()
  target_precompile_headers(${target} PRIVATE ${ARG_HEADERS}
    <fmt/core.h>
    <nlohmann/json.hpp>
    <filesystem>
    <functional>
    <map>
    <memory>
    <optional>
    <string>
    <vector>)
endfunction()

set(tensor_headers <ATen/TensorOperators.h> <ATen/core/Tensor.h>)
set(test_headers <gmock/gmock.h> <gtest/gtest.h>)
annuli_headers(plain)
annuli_headers(torch DEPS annuli_torch HEADERS ${tensor_headers})
annuli_headers(plain_test DEPS GTest::gmock HEADERS ${test_headers})
annuli_headers(torch_test DEPS annuli_torch GTest::gmock
  HEADERS ${tensor_headers} ${test_headers})

function(annuli_precompile target kind)
  target_precompile_headers(${target} REUSE_FROM annuli_headers_${kind})
  # Precompiled headers want the same flags everywhere.
  if(NOT kind MATCHES "_test$")
    annuli_relocatable(${target})
  endif()
endfunction()
