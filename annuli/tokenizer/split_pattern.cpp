#define PCRE2_CODE_UNIT_WIDTH 8
#include "annuli/tokenizer/split_pattern.h"

#include <pcre2.h>

#include <array>
#include <new>

#include "annuli/core/error.h"
#include "annuli/tokenizer/split_syntax.h"

namespace annuli {
namespace {

// Enough for any sane pattern on megabytes of one kind of character; a pattern
// that backtracks without end is stopped.
constexpr uint32_t kMatchLimit = 2'000'000'000;
constexpr size_t kJitStackStart = 64 << 10;
constexpr size_t kJitStackLimit = 64 << 20;

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

template <typename T, auto Free>
using Owned = std::unique_ptr<T, FreeWith<Free>>;

template <typename T>
T* or_out_of_memory(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

struct SplitPattern::Code {
  Owned<pcre2_code, pcre2_code_free> compiled;
};

struct SplitPattern::Workspace::State {
  Owned<pcre2_match_data, pcre2_match_data_free> match;
  Owned<pcre2_match_context, pcre2_match_context_free> context;
  Owned<pcre2_jit_stack, pcre2_jit_stack_free> stack;
};

SplitPattern::SplitPattern(std::string pattern)
    : pattern_(std::move(pattern)), code_(std::make_unique<Code>()) {
  const std::string translated = to_pcre2(pattern_);
  Owned<pcre2_compile_context, pcre2_compile_context_free> context(
      or_out_of_memory(pcre2_compile_context_create(nullptr)));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  code_->compiled.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
      &error, &offset, context.get()));
  if (!code_->compiled) {
    user_error("split pattern `{}`: {}", pattern_, pcre2_message(error));
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info(code_->compiled.get(), PCRE2_INFO_MATCHEMPTY,
                     &matches_empty);
  if (matches_empty != 0) {
    user_error("split pattern `{}`: can match the empty string", pattern_);
  }
  // Without machine code (a kernel that forbids it) PCRE2 interprets.
  pcre2_jit_compile(code_->compiled.get(), PCRE2_JIT_COMPLETE);
}

SplitPattern::~SplitPattern() = default;
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;

SplitPattern::Workspace::Workspace(const SplitPattern& pattern)
    : state_(std::make_unique<State>()) {
  state_->match.reset(or_out_of_memory(pcre2_match_data_create_from_pattern(
      pattern.code_->compiled.get(), nullptr)));
  state_->context.reset(or_out_of_memory(pcre2_match_context_create(nullptr)));
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  state_->stack.reset(
      pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr));
  if (state_->stack) {
    pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
  }
}

SplitPattern::Workspace::~Workspace() = default;
SplitPattern::Workspace::Workspace(Workspace&&) noexcept = default;

template <typename Emit>
void SplitPattern::each(std::string_view text, Workspace& workspace,
                        const Emit& emit) const {
  Workspace::State& state = *workspace.state_;
  const size_t* span = pcre2_get_ovector_pointer(state.match.get());
  size_t at = 0;
  while (at < text.size()) {
    const int found =
        pcre2_match(code_->compiled.get(),
                    reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                    PCRE2_NO_UTF_CHECK, state.match.get(), state.context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      user_error("split pattern `{}`: {} at byte {} of a text of {} bytes",
                 pattern_, pcre2_message(found), at, text.size());
    }
    ANNULI_CHECK(span[0] >= at && span[1] > span[0], "match {}..{} from {}",
                 span[0], span[1], at);
    if (span[0] > at) emit(text.substr(at, span[0] - at), false);
    emit(text.substr(span[0], span[1] - span[0]), true);
    at = span[1];
  }
  if (at < text.size()) emit(text.substr(at), false);
}

void SplitPattern::split(
    std::string_view text, Workspace& workspace,
    const std::function<void(std::string_view)>& emit) const {
  each(text, workspace, [&](std::string_view piece, bool) { emit(piece); });
}

void SplitPattern::find(
    std::string_view text, Workspace& workspace,
    const std::function<void(std::string_view, bool)>& emit) const {
  each(text, workspace, emit);
}

}  // namespace annuli
