#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The chain of steps that text goes through before it is cut into words:
// Unicode forms, replacements, a mark before the text. As the normalizers of
// the Python `tokenizers` package, step by step.
//
// Immutable once built. Texts are valid UTF-8, before and after.
namespace annuli {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  // Appends the normalized text; `text` is not empty.
  virtual void append(std::string_view text, std::string& out) const = 0;
  // True where it is cheap to see that `text` stays as it is.
  virtual bool keeps(std::string_view) const { return false; }
  // True where characters at the very beginning of `text` are taken away.
  virtual bool cuts_start(std::string_view) const { return false; }
  // Equal descriptions normalize equally.
  virtual std::string description() const = 0;
};

class Normalizer {
 public:
  void add(std::unique_ptr<const NormalizerStep> step);

  bool empty() const { return steps_.empty(); }

  // The normalized text: `text` itself where no step changed it, else a view
  // of `buffer`. `at_start` becomes false where the beginning was cut off.
  std::string_view apply(std::string_view text, std::string& buffer,
                         bool& at_start) const;
  std::string apply(std::string_view text) const;

  // One line a step.
  std::string description() const;

 private:
  std::vector<std::unique_ptr<const NormalizerStep>> steps_;
};

}  // namespace annuli
