#include "annuli/checkpoint/pickle_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "annuli/checkpoint/test_files.h"

namespace annuli {
namespace {

using test::user_error_of;
using namespace std::string_literals;

PickleDocument read(const std::string& text) {
  return read_pickle(std::as_bytes(std::span(text)), "test.pt");
}

Json json_of(const std::string& text) {
  const PickleDocument document = read(text);
  return to_json(document, document.at(document.root), "test.pt");
}

std::string short_string(const std::string& text) {
  return "X"s + static_cast<char>(text.size()) + "\0\0\0"s + text;
}

TEST(PickleReader, PlainValues) {
  EXPECT_EQ(json_of("\x80\x02N."), nullptr);
  EXPECT_EQ(json_of("\x80\x02\x88."), true);
  EXPECT_EQ(json_of("\x80\x02K\xff."), 255);
  EXPECT_EQ(json_of("\x80\x02M\x01\x02."), 0x201);
  EXPECT_EQ(json_of("\x80\x02J\xff\xff\xff\xff."), -1);
  EXPECT_EQ(json_of("\x80\x02\x8a\x00."s), 0);
  EXPECT_EQ(json_of("\x80\x02\x8a\x02\x00\x80."s), -32768);
  EXPECT_EQ(json_of("\x80\x02\x8a\x05\x00\x00\x00\x00\x01."s), 4294967296);
  EXPECT_EQ(json_of("\x80\x02G\x3f\xf8\x00\x00\x00\x00\x00\x00."s), 1.5);
  EXPECT_EQ(json_of("\x80\x02" + short_string("äbc") + "."), "äbc");
}

TEST(PickleReader, Containers) {
  // {'a': [1, (2, 3)], 'b': {}} with a memo that is used.
  const std::string text = "\x80\x02}q\x00("s + short_string("a") +
                           "q\x01](K\x01K\x02K\x03\x86"
                           "e"s +
                           short_string("b") + "}u.";
  EXPECT_EQ(json_of(text), Json::parse(R"({"a": [1, [2, 3]], "b": {}})"));
  EXPECT_EQ(json_of("\x80\x02](K\x01q\x07h\x07"
                    "e."),
            Json::parse("[1, 1]"));
  // OrderedDict() and its attributes.
  EXPECT_EQ(json_of("\x80\x02"
                    "ccollections\nOrderedDict\n)R}b."),
            Json::object());
}

TEST(PickleReader, CallsNothing) {
  const std::string call =
      "\x80\x02"
      "cposix\nsystem\n" +
      short_string("true") + "\x85R.";
  EXPECT_THAT(user_error_of([&] { read(call); }),
              testing::HasSubstr("calls posix system, which is not allowed"));
  // An OrderedDict of something, a callable that is no name.
  EXPECT_NE(user_error_of([] {
              read(
                  "\x80\x02"
                  "ccollections\nOrderedDict\n]\x85R.");
            }),
            "");
  EXPECT_NE(user_error_of([] { read("\x80\x02K\x01)R."); }), "");
}

TEST(PickleReader, RefusesDamage) {
  const char* kDamaged[] = {
      "",                   // nothing
      "\x80",               // no protocol
      "\x80\x02",           // no end
      "\x80\x04N.",         // another protocol
      "\x80\x02.",          // an end without a value
      "\x80\x02NN.",        // two values
      "\x80\x02h\x05.",     // a memo never made
      "\x80\x02u.",         // no mark
      "\x80\x02(u.",        // no dict
      "\x80\x02}(K\x01u.",  // a key without a value
      "\x80\x02K\x01K\x01"
      "a.",  // appends to a number
      "\x80\x02X\xff\xff\xff\x7f"
      "abc.",               // a string beyond the end
      "\x80\x02X\x01\x00",  // a length beyond the end
      "\x80\x02"
      "cmodule",  // a name without an end
      "\x80\x02\x8a\x09"
      "123456789.",       // an integer of 72 bits
      "\x80\x02\x93.",    // an opcode of protocol 4
      "\x80\x02K\x01Q.",  // a storage that is a number
  };
  for (const char* text : kDamaged) {
    const std::string error = user_error_of([&] { read(text); });
    EXPECT_THAT(error, testing::HasSubstr("test.pt"))
        << Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
  }
}

TEST(PickleReader, RefusesBadText) {
  EXPECT_NE(user_error_of([] { json_of("\x80\x02X\x01\0\0\0\xff."s); }), "");
  // {1: 2}
  EXPECT_THAT(user_error_of([] { json_of("\x80\x02}K\x01K\x02s."); }),
              testing::HasSubstr("a key that is no string"));
  // {'a': 1, 'a': 2}
  EXPECT_THAT(user_error_of([] {
                json_of("\x80\x02}(" + short_string("a") + "K\x01" +
                        short_string("a") + "K\x02u.");
              }),
              testing::HasSubstr("'a' twice"));
}

TEST(PickleReader, CyclesAndBombsEnd) {
  // A list that holds itself.
  EXPECT_THAT(user_error_of([] {
                json_of(
                    "\x80\x02]q\x01h\x01"
                    "a.");
              }),
              testing::HasSubstr("nested too deeply"));
  // Sixty lists, each holding the one before it twice: 2^60 values.
  std::string bomb = "\x80\x02]q\x00"s;
  for (char i = 0; i < 60; ++i) {
    bomb += "](h"s + i + "h" + i + "eq" + static_cast<char>(i + 1);
  }
  EXPECT_THAT(user_error_of([&] {
                const PickleDocument document = read(bomb + "(e.");
                (void)document;
              }),
              testing::HasSubstr("leaves values"));
  // The same as one value: a tuple of all of them.
  EXPECT_THAT(
      user_error_of([&] { json_of("\x80\x02("s + bomb.substr(2) + "t."); }),
      testing::HasSubstr("too many"));
}

std::string long_string(const std::string& text) {
  std::string size(4, '\0');
  for (size_t i = 0; i < 4; ++i) {
    size[i] = static_cast<char>(text.size() >> 8 * i);
  }
  return "X" + size + text;
}

TEST(PickleReader, SharedTextsCountEachTime) {
  // A list of one text of 64 KB, a thousand times.
  std::string list =
      "\x80\x02](" + long_string(std::string(65536, 'x')) + "q\x01";
  for (int i = 0; i < 1000; ++i) list += "h\x01";
  EXPECT_THAT(user_error_of([&] { json_of(list + "e."); }),
              testing::HasSubstr("too many"));
}

// Tensors of the storage `key`, whose shape is `dimensions` ones.
std::string one_tensor(const std::string& key, int dimensions) {
  std::string shape = "(";
  for (int i = 0; i < dimensions; ++i) shape += "K\x01";
  return "\x80\x02"
         "ctorch._utils\n_rebuild_tensor_v2\n((" +
         short_string("storage") + "ctorch\nFloatStorage\n" +
         short_string(key) + short_string("cpu") + "K\x01tQK\x00"s + shape +
         "t" + shape + "t\x89)tR."s;
}

TEST(PickleReader, WhatTensorsMayShareIsShort) {
  EXPECT_EQ(read(one_tensor("0", 16)).tensors.at(0).shape.size(), 16);
  EXPECT_THAT(user_error_of([] { read(one_tensor("0", 17)); }),
              testing::HasSubstr("too many dimensions"));
  EXPECT_EQ(user_error_of([] { read(one_tensor(std::string(64, '0'), 1)); }),
            "");
  EXPECT_THAT(user_error_of([] { read(one_tensor(std::string(65, '0'), 1)); }),
              testing::HasSubstr("a storage of an unknown kind"));
}

}  // namespace
}  // namespace annuli
