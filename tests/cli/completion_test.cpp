// What the shells complete, asked of the shells, and the page of the manual,
// read by a program that reads such pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "program.h"

namespace annuli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What a command of the shell prints; it must end with 0.
std::string printed(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no pipe");
  std::string text;
  std::array<char, 4096> piece;
  while (const size_t count = std::fread(piece.data(), 1, piece.size(), pipe)) {
    text.append(piece.data(), count);
  }
  EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << text;
  return text;
}

class Completion : public ::testing::Test {
 protected:
  fs::path script(const std::string& shell) {
    const Outcome outcome = run({"completion", shell});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return scratch_.write("_annuli", outcome.out);
  }
  Outcome run(const std::vector<std::string>& arguments) {
    return run_program(arguments, scratch_.path());
  }
  ScratchFolder scratch_;
};

class Bash : public Completion {
 protected:
  void SetUp() override {
    scratch_.write("ask", "source " + script("bash").string() + R"(
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_annuli
printf ' %s' "${COMPREPLY[@]}"
)");
  }
  // Of the last word.
  std::string completed(const std::string& words) {
    return printed("bash " + scratch_.file("ask") + " " + words) + " ";
  }
};

TEST_F(Bash, CompletesVerbsFlagsAndWords) {
  EXPECT_EQ(completed("annuli gr"), " grow ");
  EXPECT_THAT(completed("annuli ''"), HasSubstr(" verify "));
  EXPECT_EQ(completed("annuli grow expand"), " expand-experts ");
  EXPECT_EQ(completed("annuli export --dt"), " --dtype ");
  EXPECT_EQ(completed("annuli export --dtype q"), " q8_0 ");
  EXPECT_EQ(completed("annuli grow deepen x --outputs ''"), " zero keep ");
  EXPECT_EQ(completed("annuli grow deepen x --preset st"), " stack ");
  EXPECT_THAT(completed("annuli grow widen x --"), HasSubstr(" --factor "));
  EXPECT_THAT(completed("annuli grow widen x --"), Not(HasSubstr("--preset")));
  // The shell's own files.
  EXPECT_EQ(completed("annuli inspect runs"), "  ");
}

// A shell that somebody types into.
class Zsh : public Completion {
 protected:
  std::string completed(const std::string& words) {
    const fs::path folder = script("zsh").parent_path();
    scratch_.write("type", R"(
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT='' ; fpath=($1 \$fpath); autoload -Uz compinit"
zpty -w shell "compinit -u -D; zstyle ':completion:*' list-prompt ''; print be""gin"
zpty -r -m shell text '*begin*' || exit 1
zpty -w -n shell $2$'\t'
sleep 0.5
zpty -w -n shell $'\t'
sleep 0.5
zpty -w -n shell $'\C-a: \C-e\nprint en""d\n'
zpty -r -m shell text '*end*'
print -r -- $text
)");
    return printed("zsh -f " + scratch_.file("type") + " " + folder.string() +
                   " '" + words + "'");
  }
};

TEST_F(Zsh, CompletesVerbsFlagsAndWords) {
  EXPECT_THAT(completed("annuli gro"), HasSubstr("annuli grow"));
  EXPECT_THAT(completed("annuli export --dtype q"), HasSubstr("q8_0"));
  EXPECT_THAT(completed("annuli grow deepen x --outputs "), HasSubstr("zero"));
  EXPECT_THAT(completed("annuli grow expand"), HasSubstr("expand-experts"));
  EXPECT_THAT(completed("annuli grow widen x --fac"), HasSubstr("--factor"));
}

TEST_F(Completion, AnotherShellIsRefusedInOneLine) {
  const Outcome outcome = run({"completion", "fish"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("{bash,zsh}"));
}

TEST_F(Completion, TheManualHasEveryVerbAndNoFault) {
  const Outcome outcome = run({"man"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const fs::path page = scratch_.write("annuli.1", outcome.out);
  // A page without a date is no fault: the program has a version.
  EXPECT_EQ(printed("mandoc -T lint -W warning " + page.string() +
                    " | grep -v 'missing date' || true"),
            "");
  const std::string text =
      printed("mandoc -T ascii " + page.string() + " | sed 's/.\x08//g'");
  for (const char* words :
       {"annuli grow deepen", "--add-layers", "f32|f64|bf16|f16",
        "annuli export large --out large.gguf --dtype q8_0", "EXIT STATUS"}) {
    EXPECT_THAT(text, HasSubstr(words));
  }
}

}  // namespace
}  // namespace annuli::test
