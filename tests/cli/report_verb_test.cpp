// annuli report: the page of the tiny run, and what it is not made of.
#include <sys/stat.h>

#include "bad_input.h"

namespace annuli::test {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ReportVerb, WritesOneFileAndNothingIntoTheRun) {
  const ScratchFolder scratch;
  const Place place{.scratch = scratch};
  const std::string run = place.copy_of_run();
  const Words before = scratch.files();
  const std::string out = scratch.file("page.html");
  const Outcome outcome =
      run_program({"report", run, "--out", out}, scratch.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::HasSubstr("wrote " + out));
  EXPECT_THAT(read(out), testing::StartsWith("<!doctype html>"));
  Words after = before;
  after.push_back("page.html");
  EXPECT_THAT(scratch.files(), testing::UnorderedElementsAreArray(after));
}

TEST(ReportVerb, ReplacesAPageOfItsOwn) {
  const ScratchFolder scratch;
  const std::string out = scratch.file("page.html");
  const Words words = {"report", tiny_run().string(), "--out", out};
  ASSERT_EQ(run_program(words, scratch.path()).status, 0);
  const std::string first = read(out);
  ASSERT_EQ(run_program(words, scratch.path()).status, 0);
  EXPECT_EQ(read(out), first);
}

TEST(ReportVerb, SaysThatTheLastLineIsCut) {
  const ScratchFolder scratch;
  const Place place{.scratch = scratch};
  const std::string run = place.copy_of_run();
  std::ofstream(run + "/training_history.jsonl", std::ios::app) << "{\"ty";
  const Outcome outcome = run_program(
      {"report", run, "--out", scratch.file("page.html")}, scratch.path());
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::HasSubstr("last line"));
}

TEST(ReportVerb, MarkdownAloneIsOnStandardOutput) {
  const ScratchFolder scratch;
  const Place place{.scratch = scratch};
  const std::string run = place.copy_of_run();
  std::ofstream(run + "/training_history.jsonl", std::ios::app) << "{\"ty";
  const Words before = scratch.files();
  const Outcome outcome =
      run_program({"report", run, "--markdown"}, scratch.path());
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, testing::StartsWith("## tiny\n"));
  EXPECT_THAT(outcome.out, testing::HasSubstr("| large | "));
  EXPECT_THAT(outcome.out, testing::Not(testing::HasSubstr("last line")));
  EXPECT_THAT(outcome.err, testing::HasSubstr("last line"));
  EXPECT_EQ(scratch.files(), before);
}

class BadReports : public ::testing::TestWithParam<BadInput> {};

TEST_P(BadReports, AreRefusedInOneLine) { expect_refused(GetParam()); }

// The report of a folder with these files.
Words of_folder(const Place& p, const std::string& name,
                const std::string& text) {
  fs::create_directory(p.scratch.path() / "folder");
  p.write("folder/" + name, text);
  return {"report", p.scratch.file("folder"), "--out", p.out};
}

Words to(const Place& p, const std::string& out) {
  return {"report", tiny_run().string(), "--out", out};
}

constexpr const char* kHistory = "training_history.jsonl";

const BadInput kBadReports[] = {
    {"NoRun",
     [](const Place& p) {
       return Words{"report", "--out", p.out};
     },
     {"runs"}},
    {"NoOut",
     [](const Place&) {
       return Words{"report", tiny_run().string()};
     },
     {"--out"}},
    {"UnknownFlag",
     [](const Place& p) {
       return Words{"report", tiny_run().string(), "--oout", p.out};
     },
     {"unknown flag '--oout'", "did you mean '--out'?"}},
    {"FolderThatIsNotThere",
     [](const Place& p) {
       return Words{"report", p.scratch.file("none"), "--out", p.out};
     },
     {"none", "no folder there"}},
    {"ModelInPlaceOfARun",
     [](const Place& p) {
       return Words{"report", p.model, "--out", p.out};
     },
     {"no folder there"}},
    {"FolderThatIsNoRun",
     [](const Place& p) { return of_folder(p, "notes.txt", "mine"); },
     {"no training_history.jsonl"}},
    {"EmptyHistory",
     [](const Place& p) { return of_folder(p, kHistory, ""); },
     {"no step yet"}},
    {"CutBeforeTheFirstStep",
     [](const Place& p) { return of_folder(p, kHistory, "{\"type\":"); },
     {"no step yet", "beginning of a line"}},
    {"HistoryIsBinary",
     [](const Place& p) { return of_folder(p, kHistory, "\x7f\n"); },
     {"line 1 is not JSON"}},
    {"HistoryOfSomethingElse",
     [](const Place& p) { return of_folder(p, kHistory, "{\"loss\": 1}\n"); },
     {"line 1", "'type'", "Annuli run"}},
    {"TheSecondRunIsNone",
     [](const Place& p) {
       Words words = of_folder(p, "notes.txt", "mine");
       words.insert(words.begin() + 1, tiny_run().string());
       return words;
     },
     {"no training_history.jsonl"}},
    {"MoreRunsThanAPageHolds",
     [](const Place& p) {
       Words words = {"report", "--out", p.out};
       words.resize(16, tiny_run().string());
       return words;
     },
     {"found 13 runs", "at most 12"}},
    {"OutIsSomebodysFile",
     [](const Place& p) { return to(p, p.write("mine.html", "<html>")); },
     {"mine.html", "not written by this command"}},
    {"OutIsEmptyButSomebodys",
     [](const Place& p) { return to(p, p.write("mine.html", "")); },
     {"not written by this command"}},
    {"OutIsALink",
     [](const Place& p) {
       fs::create_symlink("elsewhere.html", p.scratch.path() / "link.html");
       return to(p, p.scratch.file("link.html"));
     },
     {"link.html", "not written by this command"}},
    {"OutIsAPipe",
     [](const Place& p) {
       EXPECT_EQ(::mkfifo(p.scratch.file("pipe").c_str(), 0600), 0);
       return to(p, p.scratch.file("pipe"));
     },
     {"pipe", "not written by this command"}},
    {"OutIsAFolder",
     [](const Place& p) {
       fs::create_directory(p.scratch.path() / "pages");
       return to(p, p.scratch.file("pages"));
     },
     {"pages"}},
    {"OutLiesInNoFolder",
     [](const Place& p) { return to(p, p.scratch.file("no/page.html")); },
     {"no/page.html"}},
    {"OutIsTheHistory",
     [](const Place& p) {
       const std::string run = p.copy_of_run();
       return Words{"report", run, "--out", run + "/" + kHistory};
     },
     {"training_history.jsonl"}},
    {"OutIsAVerdictFile",
     [](const Place& p) {
       const std::string run = p.copy_of_run();
       return Words{"report", run, "--out", run + "/verify/moe.json"};
     },
     {"moe.json"}},
    {"OutIsEmpty", [](const Place& p) { return to(p, ""); }, {"--out"}},
    {"OutHasATilde",
     [](const Place& p) { return to(p, "~/page.html"); },
     {"~/page.html"}},
};

INSTANTIATE_TEST_SUITE_P(All, BadReports, testing::ValuesIn(kBadReports),
                         [](const auto& bad) { return bad.param.name; });

}  // namespace
}  // namespace annuli::test
