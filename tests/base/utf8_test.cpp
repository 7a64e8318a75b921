#include "sim/base/utf8.h"

#include <doctest/doctest.h>
#include <string>

using namespace moesim;

TEST_CASE("UTF-8 is accepted exactly as Unicode defines it") {
  struct Case {
    std::string why;
    std::string text;
    bool good;
  };
  const Case cases[] = {
      {"nothing", "", true},
      {"ASCII", "a\x7f", true},
      {"first and last of two bytes", "\xc2\x80\xdf\xbf", true},
      {"first and last of three bytes", "\xe0\xa0\x80\xef\xbf\xbf", true},
      {"around the surrogates", "\xed\x9f\xbf\xee\x80\x80", true},
      {"first and last of four bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
      {"a continuation alone", "\x80", false},
      {"overlong: two bytes", "\xc1\xbf", false},
      {"overlong: three bytes", "\xe0\x9f\xbf", false},
      {"overlong: four bytes", "\xf0\x8f\xbf\xbf", false},
      {"a surrogate", "\xed\xa0\x80", false},
      {"beyond Unicode", "\xf4\x90\x80\x80", false},
      {"a lead that Unicode never had", "\xf5\x80\x80\x80", false},
      {"cut after one", "\xe2", false},
      {"cut after two", "\xe2\x82", false},
      {"cut after three", "\xf0\x90\x80", false},
      {"second byte is a letter", "\xe2x\x80", false},
      {"last byte is a letter", "\xe2\x82x", false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(is_utf8(c.text) == c.good);
    CHECK(first_bad_byte(c.text).has_value() != c.good);
  }
}

TEST_CASE("a bad byte is found at its line and column") {
  const auto bad = first_bad_byte("a\n\xc3\xa9\xff");
  REQUIRE(bad.has_value());
  CHECK(bad->line == 2);
  CHECK(bad->column == 3);
  CHECK(bad->problem == "byte 0xff is not valid UTF-8");
  CHECK_FALSE(first_bad_byte("\t\r\n").has_value());
  CHECK(first_bad_byte("a\x1b")->problem == "control character 0x1b");
  CHECK(first_bad_byte("\xef\xbb\xbf")->problem == "the file starts with a byte order mark");
}

TEST_CASE("lower case is of ASCII letters only") {
  CHECK(lower_case("H100-SXM_[@`{Zz") == "h100-sxm_[@`{zz");
  CHECK(lower_case("\xC3\x84") == "\xC3\x84");  // an umlaut stays
}
