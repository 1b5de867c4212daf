#include "program.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace annuli::test {
namespace {

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void redirect(int descriptor, const fs::path& path) {
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(126);
  ::close(file);
}

// In the child, between fork and exec: no more than system calls.
[[noreturn]] void become_program(std::vector<char*>& arguments,
                                 const fs::path& scratch, const fs::path& out,
                                 const fs::path& err,
                                 const Surroundings& surroundings) {
  redirect(STDOUT_FILENO, out);
  redirect(STDERR_FILENO, err);
  ::setenv("TMPDIR", scratch.c_str(), 1);
  if (surroundings.file_bytes > 0) {
    ::setenv("LLVM_PROFILE_FILE", "/dev/null", 1);  // counts that do not fit
    const rlimit limit = {surroundings.file_bytes, surroundings.file_bytes};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(126);
  }
  if (::chdir(ANNULI_SOURCE_DIR) != 0) ::_exit(126);
  ::execv(ANNULI_PROGRAM, arguments.data());
  ::_exit(127);
}

}  // namespace

Outcome run_program(const std::vector<std::string>& arguments,
                    const fs::path& scratch, const Surroundings& surroundings) {
  const ScratchFolder streams;
  const fs::path out = streams.path() / "out";
  const fs::path err = streams.path() / "err";
  std::vector<std::string> words = {ANNULI_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become_program(pointers, scratch, out, err, surroundings);
  int status = 0;
  ::waitpid(child, &status, 0);
  return {.status =
              WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = content_of(out),
          .err = content_of(err)};
}

std::vector<std::string> ScratchFolder::files() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(path())) {
    names.push_back(fs::relative(entry.path(), path()).string());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace annuli::test
