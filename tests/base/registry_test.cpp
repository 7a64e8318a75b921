#include "sim/base/registry.h"

#include <doctest/doctest.h>

#include "sim/base/reader.h"

using namespace moesim;

namespace {

struct Shape {
  virtual ~Shape() = default;
  [[nodiscard]] virtual int corners() const = 0;
};
struct Square final : Shape {
  [[nodiscard]] int corners() const override { return 4; }
};
struct Star final : Shape {
  explicit Star(int tips) : tips_(tips) {}
  [[nodiscard]] int corners() const override { return 2 * tips_; }

 private:
  int tips_;
};
struct Unused {};

const Register<Shape> kStar{
    "star", "as many tips as asked for", [](Reader& in) {
      return std::make_unique<Star>(static_cast<int>(in.integer("tips", {.min = 2, .max = 9})));
    }};
const Register<Shape> kSquare{"square", "four equal sides",
                              [](Reader&) { return std::make_unique<Square>(); }};

}  // namespace

TEST_CASE("implementations are found by name and listed in name order") {
  CHECK(Registry<Shape>::names() == std::vector<std::string>{"square", "star"});
  REQUIRE(Registry<Shape>::find("square") != nullptr);
  CHECK(Registry<Shape>::find("square")->description == "four equal sides");
  CHECK(Registry<Shape>::find("circle") == nullptr);
}

TEST_CASE("an implementation reads its own parameters") {
  const Document document = Document::parse("tips: 5", "f");
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  CHECK(Registry<Shape>::find("star")->make(in)->corners() == 10);
  CHECK(Registry<Shape>::find("square")->make(in)->corners() == 4);
  CHECK(diagnostics.empty());
}

TEST_CASE("interfaces do not share names") {
  CHECK(Registry<Unused>::names().empty());
  CHECK(Registry<Unused>::find("square") == nullptr);
}
