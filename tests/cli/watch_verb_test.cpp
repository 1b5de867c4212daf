// annuli watch, and annuli run --watch: what they refuse. What they serve is
// looked at in tests/page/.
#include "bad_input.h"

namespace annuli::test {
namespace {

class BadWatches : public ::testing::TestWithParam<BadInput> {};

TEST_P(BadWatches, AreRefusedInOneLine) { expect_refused(GetParam()); }

Words watching(const Words& more) {
  Words words = {"watch", tiny_run().string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const BadInput kBadWatches[] = {
    {"NoRun", [](const Place&) { return Words{"watch"}; }, {"runs"}},
    {"FolderThatIsNotThere",
     [](const Place& p) {
       return Words{"watch", p.scratch.file("none")};
     },
     {"none", "no folder there", "runs/quick"}},
    {"ModelInPlaceOfARun",
     [](const Place& p) {
       return Words{"watch", p.model};
     },
     {"no folder there"}},
    {"FolderThatIsNoRun",
     [](const Place& p) {
       return Words{"watch", p.scratch.path()};
     },
     {"neither training_history.jsonl nor plan.yaml"}},
    {"TheSecondRunIsNone",
     [](const Place& p) { return watching({p.scratch.file("none")}); },
     {"none", "no folder there"}},
    {"Tilde",
     [](const Place&) {
       return Words{"watch", "~/run"};
     },
     {"~/run"}},
    {"MoreRunsThanAPageHolds",
     [](const Place&) { return watching(Words(12, tiny_run().string())); },
     {"found 13 runs", "at most 12"}},
    {"PortThatIsNone",
     [](const Place&) {
       return watching({"--port", "65536"});
     },
     {"--port", "65535"}},
    {"PortThatIsNoNumber",
     [](const Place&) {
       return watching({"--port", "http"});
     },
     {"--port", "http"}},
    {"PortBelowZero",
     [](const Place&) {
       return watching({"--port", "-1"});
     },
     {"--port"}},
    {"AnotherMachinesAddress",
     [](const Place&) {
       return watching({"--host", "192.0.2.1", "--port", "0"});
     },
     {"192.0.2.1"}},
    {"NoHost",
     [](const Place&) {
       return watching({"--host", "1.2.3.4.5", "--port", "0"});
     },
     {"--host '1.2.3.4.5'"}},
    {"UnknownFlag",
     [](const Place&) {
       return watching({"--prot", "0"});
     },
     {"unknown flag '--prot'", "did you mean '--port'?"}},
    {"RunWithAPortThatIsNone",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out", p.out, "--watch=70000"};
     },
     {"--watch", "'70000'", "65535"}},
    {"RunWithAPortThatIsNoNumber",
     [](const Place& p) {
       return Words{"run", "plans/tiny.yaml", "--out", p.out, "--watch=page"};
     },
     {"--watch", "'page'"}},
};

INSTANTIATE_TEST_SUITE_P(All, BadWatches, testing::ValuesIn(kBadWatches),
                         [](const auto& bad) { return bad.param.name; });

}  // namespace
}  // namespace annuli::test
