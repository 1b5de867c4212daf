#include "annuli/watch/request_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace annuli::watch {
namespace {

const ServedAt kHere = {.host = "127.0.0.1", .port = 8642, .machine = "box"};

int status_of(const std::string& head, const ServedAt& at = kHere) {
  const auto refusal = refusal_of(head, at);
  return refusal ? refusal->status : 200;
}

std::string asking(const std::string& target,
                   const std::string& host = "127.0.0.1:8642",
                   const std::string& method = "GET") {
  return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

TEST(RequestCheck, ThePathsThatThereAre) {
  for (const char* target :
       {"/", "/?x", "/data", "/events?server=ab&revision=3",
        "/steps?run=0&from=1&to=9"}) {
    EXPECT_EQ(status_of(asking(target)), 200) << target;
  }
  EXPECT_EQ(status_of(asking("/data", "127.0.0.1:8642", "HEAD")), 200);
}

TEST(RequestCheck, EveryOtherPathIsNotThere) {
  for (const char* target :
       {"/x", "/data/", "//", "/DATA", "/index.html", "/plan.yaml",
        "/training_history.jsonl", "/favicon.ico", "/.lock", "/data;x"}) {
    EXPECT_EQ(status_of(asking(target)), 404) << target;
  }
}

TEST(RequestCheck, TargetsThatWouldBeReadInTwoWays) {
  for (const std::string& target : std::vector<std::string>{
           "/../etc/passwd", "/data/..", "/%2e%2e/x", "/%2E%2E%2Fx", "/%00",
           "/data%00", "/..%2f", "/\\..\\x", "data", "*", "http://127.0.0.1/",
           "/data#x", "/d\xc3\xa4ta", "/data?a=%41", ""}) {
    EXPECT_EQ(status_of(asking(target)), 400) << target;
  }
}

TEST(RequestCheck, OneHostThatIsServed) {
  for (const char* host :
       {"127.0.0.1:8642", "localhost:8642", "[::1]:8642", "LocalHost:8642"}) {
    EXPECT_EQ(status_of(asking("/", host)), 200) << host;
  }
  for (const char* host : {"",
                           "evil.com",
                           "evil.com:8642",
                           "127.0.0.1",
                           "127.0.0.1:80",
                           "localhost",
                           "127.0.0.1:8642.evil.com",
                           "evil.com:8642:8642",
                           "127.0.0.1:08642",
                           "[::1x:8642",
                           "127.0.0.2:8642",
                           "[::1]",
                           "::1:8642",
                           "[127.0.0.1]:8642",
                           "[evil.com]:8642",
                           ":8642",
                           "box:8642",
                           "192.168.0.7:8642",
                           "localhost.:8642",
                           "user@127.0.0.1:8642"}) {
    EXPECT_EQ(status_of(asking("/", host)), 403) << host;
  }
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 403);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: 127.0.0.1:8642\r\n"
                      "hOST: 127.0.0.1:8642\r\n\r\n"),
            403);
}

TEST(RequestCheck, TheHostThatWasGiven) {
  const ServedAt named = {.host = "Box.local", .port = 80};
  EXPECT_TRUE(is_served_host("box.LOCAL", named));
  EXPECT_TRUE(is_served_host("box.local:80", named));
  EXPECT_FALSE(is_served_host("box.local:81", named));
  EXPECT_FALSE(is_served_host("other.local", named));
  const ServedAt six = {.host = "fd00::5", .port = 9};
  EXPECT_TRUE(is_served_host("[fd00::5]:9", six));
  EXPECT_FALSE(is_served_host("[fd00::6]:9", six));
}

TEST(RequestCheck, OfAllAddressesEachNumberAndTheMachinesName) {
  const ServedAt all = {
      .host = "0.0.0.0", .port = 9, .any = true, .machine = "box"};
  for (const char* host :
       {"192.168.0.7:9", "[fe80::1]:9", "box:9", "localhost:9"}) {
    EXPECT_TRUE(is_served_host(host, all)) << host;
  }
  for (const char* host : {"evil.com:9", "1.2.3:9", "192.168.0.7:8", "boxx:9",
                           "1.2.3.4.evil.com:9"}) {
    EXPECT_FALSE(is_served_host(host, all)) << host;
  }
}

TEST(RequestCheck, OnlyLooking) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH",
                             "CONNECT", "TRACE", "get", "X"}) {
    const auto refusal =
        refusal_of(asking("/", "127.0.0.1:8642", method), kHere);
    ASSERT_TRUE(refusal) << method;
    EXPECT_EQ(refusal->status, 405) << method;
    EXPECT_THAT(response_of(*refusal), testing::HasSubstr("Allow: GET, HEAD"));
  }
  // Who is not served is not told more.
  EXPECT_EQ(status_of(asking("/", "evil.com", "POST")), 403);
}

TEST(RequestCheck, WhatIsNoRequest) {
  using namespace std::string_literals;
  const std::string host = "Host: 127.0.0.1:8642\r\n";
  for (const std::string& head :
       {""s, "\r\n\r\n"s, "GET /\r\n" + host + "\r\n",
        "GET / HTTP/2\r\n" + host + "\r\n", "GET / HTTP/1.1\n" + host + "\n",
        "GET / HTTP/1.1\r\n" + host, "GET / HTTP/1.1\r\n" + host + "\r\nbody",
        "GET / HTTP/1.1\r\n" + host + "no colon\r\n\r\n",
        "GET / HTTP/1.1\r\n" + host + " goes: on\r\n\r\n",
        "GET / HTTP/1.1\r\n" + host + "a\0b: c\r\n\r\n"s,
        "GET / HTTP/1.1\r\n" + host + "a: b\0c\r\n\r\n"s,
        "GET /\0 HTTP/1.1\r\n"s + host + "\r\n",
        "GET / HTTP/1.1\r\n" + host + "a: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\n" + host + "a : b\r\n\r\n"}) {
    EXPECT_EQ(status_of(head), 400) << head;
  }
}

TEST(RequestCheck, NoHeaderIsPassedOn) {
  const std::string head =
      "GET /data?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8642\r\nRange: bytes=0-1\r\n"
      "Expect: 100-continue\r\nAccept-Encoding: br\r\n\r\n";
  ASSERT_EQ(status_of(head), 200);
  EXPECT_EQ(passed_on(head), "GET /data?x=1 HTTP/1.1\r\n\r\n");
}

TEST(RequestCheck, ARefusalIsAWholeResponse) {
  const std::string text = response_of({404, "nothing"});
  EXPECT_THAT(text, testing::StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(text, testing::HasSubstr("Content-Length: 8\r\n"));
  EXPECT_THAT(text, testing::HasSubstr("nosniff"));
  EXPECT_THAT(text, testing::EndsWith("\r\n\r\nnothing\n"));
}

TEST(RequestCheck, Numbers) {
  EXPECT_EQ(number_of("0"), 0);
  EXPECT_EQ(number_of("999999999999999"), 999'999'999'999'999);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1e3", "0x1", "1.0",
                           "1000000000000000", "99999999999999999999"}) {
    EXPECT_FALSE(number_of(text)) << text;
  }
}

}  // namespace
}  // namespace annuli::watch
