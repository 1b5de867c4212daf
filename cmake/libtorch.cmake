# LibTorch from the PyPI wheel, without find_package(Torch): that one asks for
# a whole CUDA toolkit, this needs two libraries and two include folders.
#
# ANNULI_TORCH_DIR is the folder that holds `torch/` (and `nvidia/`); tools/setup
# makes it and leaves a link to it in build/torch. Target: annuli_torch.
set(ANNULI_TORCH_DIR "${PROJECT_SOURCE_DIR}/build/torch" CACHE PATH
    "Folder that holds the unpacked torch wheel (tools/setup makes it)")
if(NOT EXISTS "${ANNULI_TORCH_DIR}/torch/lib/libtorch_cpu.so")
  message(FATAL_ERROR
    "configuring: no torch/lib/libtorch_cpu.so under ANNULI_TORCH_DIR="
    "'${ANNULI_TORCH_DIR}'; run `make setup`, or pass the folder that holds "
    "torch/ with -DANNULI_TORCH_DIR=...")
endif()
set(torch_lib "${ANNULI_TORCH_DIR}/torch/lib")

# The wheel ships its own, newer fmt among its headers. Ours is the system's,
# whose library we link, so it is found first.
find_path(fmt_include fmt/core.h REQUIRED)
set(own_headers "${CMAKE_BINARY_DIR}/headers_before_torch")
file(MAKE_DIRECTORY "${own_headers}")
file(CREATE_LINK "${fmt_include}/fmt" "${own_headers}/fmt" SYMBOLIC)

add_library(annuli_torch INTERFACE)
target_include_directories(annuli_torch SYSTEM INTERFACE
  "${own_headers}"
  "${ANNULI_TORCH_DIR}/torch/include"
  "${ANNULI_TORCH_DIR}/torch/include/torch/csrc/api/include")
# NDEBUG in debug builds, too: some of its types have other members without it
# than in the library, which was built with it.
target_compile_definitions(annuli_torch INTERFACE AT_PER_OPERATOR_HEADERS
  NDEBUG)
# at::parallel_for is silently serial in files compiled without -fopenmp.
target_compile_options(annuli_torch INTERFACE -fopenmp)
target_link_options(annuli_torch INTERFACE
  -Wl,--disable-new-dtags,-rpath,${torch_lib})
# One pool of threads: LibTorch's own OpenMP runtime for g++; clang's also
# speaks g++'s interface and, being loaded first, serves LibTorch too.
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  set(openmp_runtime ${OpenMP_omp_LIBRARY})
else()
  set(openmp_runtime ${torch_lib}/libgomp.so.1)
endif()
target_link_libraries(annuli_torch INTERFACE
  -Wl,--no-as-needed ${openmp_runtime} ${torch_lib}/libtorch_cpu.so
  -Wl,--as-needed ${torch_lib}/libc10.so)
