# cmake -D PYTHON=... -D DATA=... -D OUT=... -P make_reference.cmake
# Runs reference.py unless its last result is newer than all it depends on.
foreach(needed "${PYTHON}" "${DATA}/gpt2/vocab.json" "${DATA}/shakespeare")
  if(NOT EXISTS "${needed}")
    message(FATAL_ERROR "making the tokenizer references: no ${needed}; run "
      "`tools/setup --python` (or `make test`), or configure with "
      "-DANNULI_PYTHON=... and -DANNULI_DATA_DIR=...")
  endif()
endforeach()

set(here "${CMAKE_CURRENT_LIST_DIR}")
set(up_to_date TRUE)
foreach(input "${here}/reference.py" "${here}/kinds.py" "${here}/texts.py"
        "${PYTHON}" "${DATA}/gpt2/vocab.json")
  if("${input}" IS_NEWER_THAN "${OUT}/manifest.json")
    set(up_to_date FALSE)
  endif()
endforeach()
if(up_to_date)
  return()
endif()

execute_process(
  COMMAND "${PYTHON}" "${here}/reference.py" --gpt2 "${DATA}/gpt2"
          --shakespeare "${DATA}/shakespeare" --out "${OUT}"
  COMMAND_ERROR_IS_FATAL ANY)
