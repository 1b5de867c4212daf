# Tensor.h, its operators and the JSON library are two thirds of the time that
# a file of ours compiles. They are compiled once, for every target that uses
# LibTorch. A file that is compiled with other flags reads them as text.
add_library(annuli_headers STATIC
  ${PROJECT_SOURCE_DIR}/cmake/precompiled_headers.cpp)
annuli_compile_options(annuli_headers)
target_link_libraries(annuli_headers PUBLIC annuli_torch fmt::fmt
  nlohmann_json::nlohmann_json)
target_precompile_headers(annuli_headers PRIVATE
  <ATen/TensorOperators.h>
  <ATen/core/Tensor.h>
  <fmt/core.h>
  <nlohmann/json.hpp>
  <filesystem>
  <functional>
  <map>
  <memory>
  <optional>
  <string>
  <vector>)

function(annuli_precompile target)
  if(NOT ANNULI_SANITIZE)
    target_precompile_headers(${target} REUSE_FROM annuli_headers)
  endif()
endfunction()
