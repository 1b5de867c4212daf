#include "annuli/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <unordered_set>

#include "annuli/config/utf8.h"
#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// Texts count too, 64 bytes as one node: an alias copies them.
constexpr size_t kMostNodes = 100'000;

size_t text_cost(const std::string& text) { return text.size() / 64; }

size_t count_nodes(const YamlTree& tree) {
  size_t count = 1 + text_cost(tree.scalar);
  for (const auto& [key, node] : tree.entries) {
    count += text_cost(key) + count_nodes(node);
  }
  return count;
}

bool is_null_word(const std::string& word) {
  return word.empty() || word == "~" || word == "null" || word == "Null" ||
         word == "NULL";
}

// Builds the tree from the parser's events; the innermost open node is last in
// `open_`.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& source, bool numbered)
      : source_(source), numbered_(numbered) {}

  YamlTree take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(YamlTree::Kind::kNull, mark), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      user_error("reading {}: an alias inside the value it names", place(mark));
    }
    spend(count_nodes(found->second), place(mark));
    add(found->second, 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    refuse_tag(mark, tag);
    refuse_bytes(mark, value);
    YamlTree node = make(YamlTree::Kind::kScalar, mark);
    node.quoted = tag == "!";
    if (!node.quoted && is_null_word(value)) node.kind = YamlTree::Kind::kNull;
    node.scalar = value;
    add(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open_.push_back({make(YamlTree::Kind::kList, mark), anchor, {}});
  }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open_.push_back({make(YamlTree::Kind::kMap, mark), anchor, {}});
  }

  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlTree node;
    YAML::anchor_t anchor;
    std::optional<std::string> key;  // read, its value not yet
    std::unordered_set<std::string> keys{};
  };

  std::string place(const YAML::Mark& mark) const {
    return numbered_ ? fmt::format("{}:{}", source_, mark.line + 1) : source_;
  }

  YamlTree make(YamlTree::Kind kind, const YAML::Mark& mark) {
    YamlTree node;
    node.kind = kind;
    node.place = place(mark);
    spend(1, node.place);
    return node;
  }

  void spend(size_t nodes, const std::string& place) {
    nodes_ += nodes;
    if (nodes_ > kMostNodes) {
      user_error(
          "reading {}: found more than {} values with aliases expanded, "
          "expected a plan",
          place, kMostNodes);
    }
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    user_error(
        "reading {}: found the tag {}, expected plain YAML; take the "
        "tag out",
        place(mark), quote(tag));
  }

  // The library makes one byte of these escapes, where UTF-8 has two.
  void refuse_bytes(const YAML::Mark& mark, const std::string& value) const {
    if (first_invalid_utf8(value) == value.size()) return;
    user_error(
        "reading {}: found the escape \\N or \\_, expected the character "
        "itself, or \\x85 or \\xa0",
        place(mark));
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  void add(YamlTree node, YAML::anchor_t anchor) {
    if (anchor != 0) {
      spend(count_nodes(node), node.place);
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (open_.back().node.kind == YamlTree::Kind::kList) {
      open_.back().node.entries.push_back({"", std::move(node)});
    } else {
      add_to_map(open_.back(), std::move(node));
    }
  }

  void add_to_map(Open& map, YamlTree node) {
    if (map.key) {
      map.node.entries.push_back(
          {*std::exchange(map.key, {}), std::move(node)});
      return;
    }
    if (node.kind != YamlTree::Kind::kScalar) {
      user_error("reading {}: found {} as a key, expected a name", node.place,
                 describe(node));
    }
    if (!map.keys.insert(node.scalar).second) {
      user_error("reading {}: the key {} is there twice, first at {}",
                 node.place, quote(node.scalar),
                 map.node.find(node.scalar)->place);
    }
    map.key = std::move(node.scalar);
  }

  std::string source_;
  bool numbered_;
  YamlTree root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlTree> anchors_;
  size_t nodes_ = 0;
};

bool is_control(char c) {
  return c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r';
}

// YAML has no other characters, and its library takes a NUL for an escape.
void refuse_what_is_no_text(std::string_view text, const std::string& source) {
  const auto control = std::ranges::find_if(text, is_control);
  const size_t bad = std::min(first_invalid_utf8(text),
                              static_cast<size_t>(control - text.begin()));
  if (bad == text.size()) return;
  const auto line = std::ranges::count(text.substr(0, bad), '\n') + 1;
  user_error(
      "reading {}: line {} holds the byte \\x{:02x}, expected text in UTF-8",
      source, line, static_cast<unsigned char>(text[bad]));
}

}  // namespace

const YamlTree* YamlTree::find(std::string_view key) const {
  const auto entry = std::ranges::find(entries, key, &YamlEntry::key);
  return entry == entries.end() ? nullptr : &entry->node;
}

YamlTree* YamlTree::find(std::string_view key) {
  return const_cast<YamlTree*>(std::as_const(*this).find(key));
}

YamlTree parse_yaml(std::string_view text, const std::string& source,
                    bool numbered) {
  refuse_what_is_no_text(text, source);
  TreeBuilder builder(source, numbered);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    TreeBuilder rest(source, numbered);
    if (parser.HandleNextDocument(rest)) {
      user_error(
          "reading {}: found two YAML documents, expected one; take "
          "'---' out",
          source);
    }
  } catch (const YAML::Exception& error) {
    const std::string where =
        numbered ? fmt::format("{}:{}:{}", source, error.mark.line + 1,
                               error.mark.column + 1)
                 : source;
    user_error("reading {}: not YAML: {}", where, one_line(error.msg));
  }
  YamlTree tree = builder.take();
  if (tree.place.empty()) tree.place = source;  // an empty document
  return tree;
}

std::string describe(const YamlTree& node) {
  switch (node.kind) {
    case YamlTree::Kind::kNull:
      return "nothing";
    case YamlTree::Kind::kList:
      return fmt::format("a list of {}", node.entries.size());
    case YamlTree::Kind::kMap:
      return "a map";
    case YamlTree::Kind::kScalar:
      break;
  }
  return node.quoted ? fmt::format("the text {}", quote(node.scalar))
                     : quote(node.scalar);
}

}  // namespace annuli
