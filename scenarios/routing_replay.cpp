#include "scenarios/routing_replay.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

/// Requests over which shares of a mix are exact when sequences are drawn without replacement.
constexpr std::uint32_t kMixBlock = 4096;

/// What a draw is for: equal keys give unrelated draws in different streams.
enum Stream : std::uint64_t {
  kPickShare,
  kPickSequence,
  kPermute,
  kPermuteMix,
  kDecodeWrap,
  kPromptWrap,
  kDecodeRow,
  kPromptRow,
  kBlockSequence,
  kBlockOffset,
  kBlockRow,
  kLayerRow,  ///< and as many above it as there are layers, twice
};

/// SplitMix64's output for a key of several words, each absorbed by one step of the generator.
std::uint64_t keyed(std::uint64_t seed, std::uint64_t stream, std::uint64_t a,
                    std::uint64_t b = 0) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // its increment: 2^64 / golden ratio
  std::uint64_t state = mix64(seed + kGolden);
  state = mix64((state ^ stream) + kGolden);
  state = mix64((state ^ a) + kGolden);
  return mix64((state ^ b) + kGolden);
}

/// Uniform in [0, n) for n < 2^32; the bias is below n / 2^32.
std::uint32_t below(std::uint64_t bits, std::uint32_t n) {
  return static_cast<std::uint32_t>(((bits >> 32) * n) >> 32);
}

/// Run that holds row `at`, where before[i] rows lie before run i. Runs are mostly of one length:
/// then the first guess is right, and nothing is searched.
std::size_t run_of(const std::vector<std::uint64_t>& before, std::uint64_t at) {
  const std::size_t guess = at * (before.size() - 1) / before.back();
  if (before[guess] <= at && at < before[guess + 1]) return guess;
  return static_cast<std::size_t>(std::ranges::upper_bound(before, at) - before.begin()) - 1;
}

/// A permutation of [0, n) chosen by `key`: four Feistel rounds on the next even number of bits,
/// again until the result lies below n (cycle walking; Black and Rogaway, "Ciphers with arbitrary
/// finite domains", 2002).
std::uint64_t permuted(std::uint64_t index, std::uint64_t n, std::uint64_t key) {
  const int half = std::max(1, (static_cast<int>(std::bit_width(n - 1)) + 1) / 2);
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  do {
    std::uint64_t left = index >> half, right = index & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t mixed = left ^ (keyed(key, round, right) & mask);
      left = right;
      right = mixed;
    }
    index = left << half | right;
  } while (index >= n);
  return index;
}

/// First row of a run that is no template, counted from its begin.
std::uint32_t after_template(std::uint32_t rows) {
  return rows > RoutingReplay::kTemplateRows ? RoutingReplay::kTemplateRows : 0;
}

/// Row `index` past the end of a run of rows: each wrap begins at a row of its own behind the
/// template and goes round once, so that the wrap of an index is a division.
std::uint64_t wrapped(std::uint64_t first, std::uint32_t rows, std::uint64_t index,
                      std::uint64_t key) {
  const std::uint32_t begin = after_template(rows);
  const std::uint32_t period = rows - begin;
  const std::uint32_t start = below(mix64(key + index / period), period);
  return first + begin + (start + index % period) % period;
}

[[noreturn]] void refuse_mix(const std::string& name, const std::string& problem,
                             const std::string& hint) {
  Diagnostic mistake;
  mistake.key = name.empty() ? "routing.domain_mix" : "routing.domain_mix." + name;
  mistake.problem = problem;
  mistake.hint = hint;
  throw_input_error(std::move(mistake));
}

bool is_of(const RoutingTable& table, const RoutedSequence& sequence, const std::string& name) {
  if (sequence.domain >= table.domains.size()) return false;
  const RoutingDomain& domain = table.domains[sequence.domain];
  return domain.name == name || domain.group == name;
}

[[noreturn]] void refuse_domain(const RoutingTable& table, const std::string& name) {
  std::vector<std::string> known;
  for (const RoutingDomain& domain : table.domains) {
    if (std::find(known.begin(), known.end(), domain.group) == known.end())
      known.push_back(domain.group);
  }
  refuse_mix(name, "the trace has no sequence of this domain or group",
             known.empty() ? "it names no domains at all" : nearest_name_hint(name, known));
}

}  // namespace

RoutingReplay::RoutingReplay(const RoutingTable& table, const Options& options)
    : table_(&table), options_(options) {
  MOESIM_CHECK(!table.sequences.empty(), "a table of routed tokens has sequences");
  if (options.domain_mix.empty()) add_share(1, nullptr);
  for (const auto& [name, weight] : options.domain_mix) {
    if (!(weight >= 0) || !std::isfinite(weight))
      refuse_mix(name, fmt::format("{} is no share", weight), "a number from 0 on");
    if (weight > 0) add_share(weight, &name);
  }
  if (shares_.empty()) refuse_mix("", "all shares are 0", "give at least one domain a share");
  finish_shares();
}

/// Adds the sources of a domain or group (all without a name).
void RoutingReplay::add_share(double weight, const std::string* name) {
  Share share;
  share.first = sources_.size();
  for (std::size_t i = 0; i < table_->sequences.size(); ++i) {
    const RoutedSequence& sequence = table_->sequences[i];
    if (name != nullptr && !is_of(*table_, sequence, *name)) continue;
    sources_.push_back(source_of(sequence, i));
    prefill_from_decode_ = prefill_from_decode_ || sources_.back().prompt_is_decode;
  }
  share.count = sources_.size() - share.first;
  if (share.count == 0) refuse_domain(*table_, *name);
  share.below = weight;
  shares_.push_back(share);
}

RoutingReplay::Source RoutingReplay::source_of(const RoutedSequence& sequence, std::size_t number) {
  Source source;
  source.sequence = static_cast<std::uint32_t>(number);
  // A recording of prompts alone serves outputs, too.
  const std::uint32_t prompt = sequence.prompt_rows < sequence.rows ? sequence.prompt_rows : 0;
  source.decode = {sequence.first_row + prompt, sequence.rows - prompt};
  source.prompt = {sequence.first_row, sequence.prompt_rows};
  source.prompt_is_decode = sequence.prompt_rows == 0;
  if (source.prompt_is_decode) {
    const std::uint32_t skip = after_template(source.decode.rows);
    source.prompt = {source.decode.first + skip, source.decode.rows - skip};
  }
  return source;
}

/// Turns weights into cumulated shares, and sums rows.
void RoutingReplay::finish_shares() {
  const double total =
      std::accumulate(shares_.begin(), shares_.end(), 0.0,
                      [](double sum, const Share& share) { return sum + share.below; });
  double sum = 0;
  for (Share& share : shares_) {
    sum += share.below;
    share.below = sum / total;
    share.slots_below = static_cast<std::uint32_t>(std::llround(share.below * kMixBlock));
  }
  shares_.back().below = 1;
  shares_.back().slots_below = kMixBlock;
  decode_before_ = prompt_before_ = {0};
  for (const Source& source : sources_) {
    decode_before_.push_back(decode_before_.back() + source.decode.rows);
    prompt_before_.push_back(prompt_before_.back() + source.prompt.rows);
  }
}

/// The share a keyed draw falls into; nothing is drawn if there is one.
const RoutingReplay::Share& RoutingReplay::share_of(std::uint64_t stream, std::uint64_t owner,
                                                    std::uint64_t index) const {
  if (shares_.size() == 1) return shares_.front();
  const std::uint64_t key = keyed(options_.seed, stream, owner, index);
  const double u = static_cast<double>(key >> 11) * 0x1p-53;
  const auto at = std::find_if(shares_.begin(), shares_.end() - 1,
                               [u](const Share& share) { return u < share.below; });
  return *at;
}

/// The source of a request. Without replacement the requests of a block of kMixBlock have their
/// shares exactly, so that a request's number within its share, and with it the place in the
/// permutation, is a pure function of its id.
RoutingReplay::Draw RoutingReplay::draw(std::uint64_t request) const {
  const std::uint64_t seed = options_.seed;
  if (options_.replace) {
    const Share& share = share_of(kPickShare, request);
    const auto count = static_cast<std::uint32_t>(share.count);
    return {share.first + below(keyed(seed, kPickSequence, request), count), 0};
  }
  const Share* share = &shares_.front();
  std::uint64_t number = request;
  if (shares_.size() > 1) {
    const std::uint64_t block = request / kMixBlock;
    const std::uint64_t slot =
        permuted(request % kMixBlock, kMixBlock, keyed(seed, kPermuteMix, block));
    std::uint32_t begin = 0;
    while (slot >= share->slots_below) begin = share++->slots_below;
    number = block * (share->slots_below - begin) + (slot - begin);
  }
  const std::uint64_t epoch = number / share->count;
  const std::uint64_t key = keyed(seed, kPermute, epoch, share->first);
  return {share->first + permuted(number % share->count, share->count, key), epoch};
}

RoutingReplay::Walk RoutingReplay::walk(std::uint64_t request) const {
  const Source& source = sources_[draw(request).source];
  Walk walk;
  walk.request = request;
  walk.sequence = source.sequence;
  walk.decode_first = source.decode.first;
  walk.decode_rows = source.decode.rows;
  walk.prompt_first = source.prompt.first;
  walk.prompt_rows = source.prompt.rows;
  walk.prompt_is_decode = source.prompt_is_decode;
  if (options_.mode == Mode::kSequence) {
    const RoutedSequence& sequence = table_->sequences[source.sequence];
    table_->check_rows(sequence.first_row, sequence.rows);
  }
  return walk;
}

std::uint64_t RoutingReplay::epoch(std::uint64_t request) const {
  return draw(request).epoch;
}

/// A row of a share's decode or prompt rows, all alike. `key` is the request or block.
std::uint64_t RoutingReplay::drawn_row(std::uint64_t key, bool prompt, const Share& share,
                                       std::uint32_t index, std::uint64_t stream) const {
  const std::vector<std::uint64_t>& before = prompt ? prompt_before_ : decode_before_;
  const std::uint64_t begin = before[share.first];
  const std::uint64_t rows = before[share.first + share.count] - begin;
  std::uint64_t at = 0;
  if (options_.replace) {
    at = keyed(options_.seed, stream, key, index) % rows;
  } else {
    at = permuted(index % rows, rows, keyed(options_.seed, stream, key, index / rows));
  }
  const std::size_t number = run_of(before, begin + at);
  const Source& source = sources_[number];
  const std::uint64_t row =
      (prompt ? source.prompt.first : source.decode.first) + (begin + at - before[number]);
  table_->check_rows(row, 1);
  return row;
}

std::uint64_t RoutingReplay::far_decode_row(const Walk& walk, std::uint32_t index) const {
  const std::uint64_t seed = options_.seed;
  if (options_.mode != Mode::kSequence)
    return drawn_row(walk.request, false, share_of(kPickShare, walk.request), index, kDecodeRow);
  return wrapped(walk.decode_first, walk.decode_rows, std::uint64_t{index} - walk.decode_rows,
                 keyed(seed, kDecodeWrap, walk.request));
}

std::uint64_t RoutingReplay::prompt_row(const Walk& walk, std::uint32_t index) const {
  const std::uint64_t seed = options_.seed;
  if (options_.mode != Mode::kSequence)
    return drawn_row(walk.request, true, share_of(kPickShare, walk.request), index, kPromptRow);
  const std::uint64_t key = keyed(seed, kPromptWrap, walk.request);
  if (walk.prompt_is_decode) return wrapped(walk.decode_first, walk.decode_rows, index, key);
  if (index < walk.prompt_rows) return walk.prompt_first + index;
  return wrapped(walk.prompt_first, walk.prompt_rows, index - walk.prompt_rows, key);
}

std::uint64_t RoutingReplay::block_row(std::uint64_t block, std::uint32_t offset) const {
  const std::uint64_t seed = options_.seed;
  const Share& share = share_of(kBlockSequence, block, 1);
  if (options_.mode != Mode::kSequence) return drawn_row(block, true, share, offset, kBlockRow);
  const auto count = static_cast<std::uint32_t>(share.count);
  const Source& source = sources_[share.first + below(keyed(seed, kBlockSequence, block), count)];
  const Run& run = source.prompt_is_decode ? source.decode : source.prompt;
  const std::uint64_t row = wrapped(run.first, run.rows, offset, keyed(seed, kBlockOffset, block));
  table_->check_rows(row, 1);
  return row;
}

std::uint64_t RoutingReplay::layer_row(std::uint64_t request, bool prompt, std::uint32_t index,
                                       int layer) const {
  const std::uint64_t stream = kLayerRow + 2 * static_cast<std::uint64_t>(layer) + (prompt ? 1 : 0);
  const Share& share = share_of(kPickShare, request);
  return drawn_row(request, prompt, share, index, stream);
}

}  // namespace moesim
