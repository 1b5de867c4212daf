# cmake -D PYTHON=... -D DATA=... -D OUT=... -P own_libraries.cmake
# Runs own_libraries.py unless its last result is newer than all it depends on.
set(here "${CMAKE_CURRENT_LIST_DIR}")
foreach(input "${here}/own_libraries.py" "${here}/texts.py" "${PYTHON}")
  if("${input}" IS_NEWER_THAN "${OUT}/manifest.json")
    execute_process(
      COMMAND "${PYTHON}" "${here}/own_libraries.py"
              --shakespeare "${DATA}/shakespeare" --out "${OUT}"
      COMMAND_ERROR_IS_FATAL ANY)
    return()
  endif()
endforeach()
