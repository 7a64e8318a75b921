#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sim/validation/accuracy.h"

namespace moesim {

/// Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank. -1 to 1; 0 if
/// all values of one side are equal. Precondition: equal sizes.
[[nodiscard]] double spearman(const std::vector<double>& a, const std::vector<double>& b);

/// Of predicted and measured throughput (`output_tok_s`): over the operating points of each model
/// on each GPU ("Mixtral-8x7B-v0.1/h100_sxm", at least three), in order of first appearance; then
/// "trust A/moe", the median over those of trusted MoE rows; then "pooled", over all. Whether a
/// planner would choose as the measurements do.
[[nodiscard]] std::vector<RankCorrelation> rank_correlations(
    const std::vector<ComparedValue>& rows);

}  // namespace moesim
