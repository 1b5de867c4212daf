# Instrument everything of ours: -DANNULI_SANITIZE=address,undefined
set(ANNULI_SANITIZE "" CACHE STRING
    "Comma-separated sanitizers for all own code, or empty")
if(ANNULI_SANITIZE)
  add_compile_options(-fsanitize=${ANNULI_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ANNULI_SANITIZE})
endif()
