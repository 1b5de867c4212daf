#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/tokenizer/token_model.h"

// Pieces that all kinds of tokenizer files share. `where` names the file (and
// the place in it) for the UserError.
namespace annuli {

// {"token": id, ...}
Vocabulary vocabulary_of(const Json& json, const std::string& where);

// "left right"
std::pair<std::string, std::string> merge_of_line(std::string_view line,
                                                  const std::string& where);

// An id within int32; `token` names it in the error.
int32_t id_of(const Json& json, const std::string& token,
              const std::string& where);

// The fields of one file, each asked for its type. An absent field is null.
class FieldReader {
 public:
  explicit FieldReader(std::string where) : where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  [[noreturn]] void refuse(const std::string& found,
                           const std::string& expected) const;

  static const Json& field(const Json& json, const char* name);
  bool flag(const Json& json, const char* name, bool absent) const;
  size_t count(const Json& json, const char* name, size_t absent) const;
  // A string; `absent` where the field is absent or null.
  std::string text(const Json& json, const char* name,
                   const std::string& absent = "") const;
  // A string of one character.
  std::string character(const Json& json, const char* name,
                        const std::string& absent) const;
  std::string type_of(const Json& json, const char* what) const;
  const Json& list(const Json& json, const char* name) const;

  // {"String": "x"} or {"Regex": "x"}: the text, and whether it stands for
  // itself.
  std::pair<std::string, bool> pattern(const Json& json,
                                       const char* what) const;

 private:
  std::string where_;
};

}  // namespace annuli
