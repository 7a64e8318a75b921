#include "sim/base/sha256.h"

#include <doctest/doctest.h>
#include <string>

namespace moesim {

TEST_CASE("sha256 gives the digests of the standard's examples") {
  struct Case {
    const char* why;
    std::string text, digest;
  };
  const Case cases[] = {
      {"nothing: padding alone", "",
       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"one block", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"56 bytes: the length goes to a block of its own",
       "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"many blocks, bytes above 127 left aside", std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(sha256(c.text) == c.digest);
  }
}

TEST_CASE("sha256 takes bytes above 127 as they are") {
  // sha256 of the one byte ff (coreutils' sha256sum).
  CHECK(sha256("\xff") == "a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89");
}

}  // namespace moesim
