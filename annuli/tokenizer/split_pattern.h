#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

// A compiled split pattern: cuts text at its matches, each match a piece and
// each stretch between two matches a piece ("Isolated" in Python). PCRE2 in
// UTF mode, compiled to machine code where the machine allows it.
//
// Characters younger than PCRE2's Unicode tables (14 in Debian 12) count as
// unassigned: the Python package, whose tables are newer, may cut those few
// differently. No byte is lost either way.
//
// Immutable after construction. Matching needs a workspace, one per thread.
namespace annuli {

class SplitPattern {
 public:
  class Workspace {
   public:
    explicit Workspace(const SplitPattern& pattern);
    ~Workspace();
    Workspace(Workspace&&) noexcept;

   private:
    friend class SplitPattern;
    struct State;
    std::unique_ptr<State> state_;
  };

  // Oniguruma's syntax. Refuses (UserError) what to_pcre2 refuses and patterns
  // that can match the empty string.
  explicit SplitPattern(std::string pattern);
  ~SplitPattern();
  SplitPattern(SplitPattern&&) noexcept;

  // Calls `emit` with each piece of `text` in order; together they are `text`.
  // `text` must be valid UTF-8.
  void split(std::string_view text, Workspace& workspace,
             const std::function<void(std::string_view)>& emit) const;

  // The same, and whether each piece is a match or lies between two.
  void find(std::string_view text, Workspace& workspace,
            const std::function<void(std::string_view, bool)>& emit) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  template <typename Emit>
  void each(std::string_view text, Workspace& workspace,
            const Emit& emit) const;

  std::string pattern_;
  std::unique_ptr<Code> code_;
};

}  // namespace annuli
