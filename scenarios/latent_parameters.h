#pragma once

#include <string>
#include <vector>

#include "sim/base/diagnostic.h"

namespace moesim {

/// What the scores of the latent-logit generator are made of (routing-traces.md 4.1): standard
/// deviations of normal terms beside standard Gumbel noise, so in units of the logit.
struct LatentSpread {
  double layer = 0;     ///< of an expert at a layer, for all tokens: popularity
  double domain = 0;    ///< of an expert in a domain
  double sequence = 0;  ///< of an expert in one sequence
  double token_class = 0;
  double slow = 0;      ///< of a process along the sequence
  double slow_rho = 0;  ///< its correlation from one token to the next
};

struct LatentParameters {
  /// Fitted to the layers' mean of gpt-oss-20b (24 layers, 32 experts, top-4; 319 sequences of 200
  /// tokens): reproduces the overlap of tokens 1 to 128 apart, the spread of loads, and how often
  /// choices repeat, but for "any of four repeats", which comes out a tenth too high.
  /// Source: generator_calibration.json, fits.mean.
  LatentSpread spread{1.256, 1.129, 1.253, 1.377, 1.239, 0.84};
  double class_stay = 0.264;  ///< a token's class is the previous one's, else drawn anew
  int domains = 20;           ///< equally likely
  int classes = 48;           ///< with frequency 1/rank
  /// Standard deviation of the logarithm of a factor, one a layer, on all of `spread`: that of the
  /// factors which give layers 1 to 23 of gpt-oss-20b their overlap of adjacent tokens
  /// (gpt_oss_20b_stats.json; mean of the logarithm 0.01; the four layers whose overlap of 0.6 no
  /// factor gives were counted as 1.7).
  double layer_spread = 0.33;
  /// That factor for the first layer, whose choices depend on little but the token: the standard
  /// deviation of all terms of fits.layer0 over that of fits.mean.
  double first_layer = 0.333;
  /// How much of every term but popularity goes on from one layer to the next: correlation of the
  /// normal ones. Fitted to what first choices of gpt-oss-20b's tokens say about those of later
  /// layers, 0.35 of their entropy one layer on, 0.23 eight and 0.20 twenty on; this gives 0.35,
  /// 0.25 and 0.20 (153 sequences of 200 tokens, three seeds). The law of a single layer does not
  /// depend on it.
  double layer_rho = 0.99;
  std::vector<LatentSpread> by_layer;  ///< instead of `spread` and the factors, if not empty
  Where by_layer_where;
};

/// Reads a file of parameters, YAML or JSON: `sigma_layer`, `sigma_domain`, `sigma_seq`,
/// `sigma_class`, `sigma_slow`, `rho_slow` (required, of all layers; or in a list `layers` of one
/// mapping a layer), `class_stay` [0.264], `domains` [20], `classes` [48], `layer_rho` [0.99],
/// `layer_spread` [0], `first_layer` [1]. Throws InputError with all mistakes.
[[nodiscard]] LatentParameters read_latent_parameters(const std::string& path);

}  // namespace moesim
