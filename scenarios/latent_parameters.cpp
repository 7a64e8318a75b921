#include "scenarios/latent_parameters.h"

#include "sim/base/reader.h"

namespace moesim {
namespace {

LatentSpread read_spread(Reader& in) {
  constexpr Range kSigma{.min = 0, .max = 20};  // at 20 a token's experts hardly ever change
  LatentSpread spread;
  spread.layer = in.number("sigma_layer", kSigma);
  spread.domain = in.number("sigma_domain", kSigma);
  spread.sequence = in.number("sigma_seq", kSigma);
  spread.token_class = in.number("sigma_class", kSigma);
  spread.slow = in.number("sigma_slow", kSigma);
  spread.slow_rho = in.number("rho_slow", {.min = 0, .max = 1});
  return spread;
}

}  // namespace

LatentParameters read_latent_parameters(const std::string& path) {
  const Document document = Document::load(path);
  Diagnostics diagnostics;
  LatentParameters parameters;
  Reader in(document, diagnostics);
  parameters.class_stay = in.number_or("class_stay", parameters.class_stay, {.min = 0, .max = 1});
  parameters.domains =
      static_cast<int>(in.integer_or("domains", parameters.domains, {.min = 1, .max = 1000}));
  parameters.classes =
      static_cast<int>(in.integer_or("classes", parameters.classes, {.min = 1, .max = 1000}));
  parameters.layer_rho = in.number_or("layer_rho", parameters.layer_rho, {.min = 0, .max = 1});
  if (in.has("layers")) {
    parameters.by_layer_where = in.where("layers");
    for (Reader& layer : in.maps("layers")) {
      parameters.by_layer.push_back(read_spread(layer));
      layer.reject_unknown_keys();
    }
  } else {
    parameters.spread = read_spread(in);
    parameters.layer_spread = in.number_or("layer_spread", 0, {.min = 0, .max = 2});
    parameters.first_layer = in.number_or("first_layer", 1, {.min = 0, .max = 10});
  }
  in.reject_unknown_keys();
  diagnostics.throw_if_any();
  return parameters;
}

}  // namespace moesim
