#pragma once

#include <span>
#include <vector>

namespace moesim {

/// Probability of each expert to be among the first `top_k` chosen by weight without repeats
/// (ExpertChooser without groups). They sum to top_k. To about 1e-3 of each. Precondition: positive
/// weights, 1 <= top_k <= their number.
[[nodiscard]] std::vector<double> inclusion_probabilities(std::span<const double> weights,
                                                          int top_k);

/// Weights with which tokens that choose `top_k` distinct experts load the experts in proportion to
/// `loads` (any scale, none negative, one positive). Drawn by the loads themselves the busiest
/// would get too little, since no token takes an expert twice. An expert gets at most (nearly) one
/// slot of every token, and the least a load can be is a millionth of the mean; what that takes
/// away or adds falls to the others in proportion.
[[nodiscard]] std::vector<double> weights_for_loads(std::span<const double> loads, int top_k);

}  // namespace moesim
