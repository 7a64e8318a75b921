#include "scenarios/routing_replay.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <span>
#include <utility>

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

/// `tag`: it is requests that are of the domain, not a mix.
[[noreturn]] void refuse_domain(const RoutingTable& table, const std::string& name, bool tag) {
  std::vector<std::string> known;
  for (const RoutingDomain& domain : table.domains) {
    for (const std::string& own : {domain.name, domain.group}) {
      if (std::find(known.begin(), known.end(), own) == known.end()) known.push_back(own);
    }
  }
  const std::string hint =
      known.empty() ? "it names no domains at all" : nearest_name_hint(name, known);
  if (!tag) refuse_mix(name, "the trace has no sequence of this domain or group", hint);
  Diagnostic mistake;
  mistake.key = "workload.trace";
  mistake.problem = fmt::format("requests are of domain '{}', no sequence of the routing is", name);
  mistake.hint = hint;
  throw_input_error(std::move(mistake));
}

}  // namespace

RoutingReplay::RoutingReplay(const RoutingTable& table, const Options& options,
                             const Workload* requests)
    : table_(&table),
      options_(options),
      domains_(options.domain_mix, requests, !table.domains.empty()) {
  MOESIM_CHECK(!table.sequences.empty(), "a table of routed tokens has sequences");
  if (!options.domain_mix.empty() && !options.mix_names_domains && domains_.all_tagged())
    refuse_mix("", "has no effect: every request has a domain of its own",
               "leave it out, or the column domain of the trace");
  for (const std::map<std::string, double>& shares : domains_.mixes()) add_mix(shares);
  decode_before_ = prompt_before_ = {0};
  for (const Source& source : sources_) {
    decode_before_.push_back(decode_before_.back() + source.decode.rows);
    prompt_before_.push_back(prompt_before_.back() + source.prompt.rows);
  }
}

void RoutingReplay::add_mix(const std::map<std::string, double>& shares) {
  Mix mix{shares_.size(), 0};
  if (shares.empty()) add_share("", 1);
  for (const auto& [name, weight] : shares) {
    if (!(weight >= 0) || !std::isfinite(weight))
      refuse_mix(name, fmt::format("{} is no share", weight), "a number from 0 on");
    if (weight > 0) add_share(name, weight);
  }
  mix.count = shares_.size() - mix.first;
  if (mix.count == 0) refuse_mix("", "all shares are 0", "give at least one domain a share");
  finish_shares(mix);
  mixes_.push_back(mix);
}

/// Adds a share of a domain or group (all sequences without a name) to the mix being made.
void RoutingReplay::add_share(const std::string& name, double weight) {
  const auto [known, is_new] = known_.try_emplace(name);
  Share& share = known->second;
  if (is_new) {
    share.first = sources_.size();
    for (std::size_t i = 0; i < table_->sequences.size(); ++i) {
      const RoutedSequence& sequence = table_->sequences[i];
      if (!name.empty() && !is_of(*table_, sequence, name)) continue;
      sources_.push_back(source_of(sequence, i));
      prefill_from_decode_ = prefill_from_decode_ || sources_.back().prompt_is_decode;
    }
    share.count = sources_.size() - share.first;
    if (share.count == 0) refuse_domain(*table_, name, mixes_.size() >= domains_.scheduled());
  }
  shares_.push_back(share);
  shares_.back().below = weight;
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

/// Turns the weights of a mix into cumulated shares.
void RoutingReplay::finish_shares(const Mix& mix) {
  const std::span<Share> shares = std::span(shares_).subspan(mix.first, mix.count);
  const double total =
      std::accumulate(shares.begin(), shares.end(), 0.0,
                      [](double sum, const Share& share) { return sum + share.below; });
  double sum = 0;
  for (Share& share : shares) {
    sum += share.below;
    share.below = sum / total;
    share.slots_below = static_cast<std::uint32_t>(std::llround(share.below * kMixBlock));
  }
  shares.back().below = 1;
  shares.back().slots_below = kMixBlock;
}

/// The share of a mix that a keyed draw falls into; nothing is drawn if there is one.
const RoutingReplay::Share& RoutingReplay::share_of(const Mix& mix, std::uint64_t stream,
                                                    std::uint64_t owner,
                                                    std::uint64_t index) const {
  const auto first = shares_.begin() + static_cast<std::ptrdiff_t>(mix.first);
  if (mix.count == 1) return *first;
  const std::uint64_t key = keyed(options_.seed, stream, owner, index);
  const double u = static_cast<double>(key >> 11) * 0x1p-53;
  const auto last = first + static_cast<std::ptrdiff_t>(mix.count) - 1;
  return *std::find_if(first, last, [u](const Share& share) { return u < share.below; });
}

const RoutingReplay::Share& RoutingReplay::share_of_request(std::uint64_t request) const {
  return share_of(mixes_[domains_.mix_of(request)], kPickShare, request);
}

std::vector<double> RoutingReplay::sequence_shares(std::size_t mix) const {
  std::vector<double> of(table_->sequences.size(), 0.0);
  double below = 0;
  for (std::size_t s = 0; s < mixes_[mix].count; ++s) {
    const Share& share = shares_[mixes_[mix].first + s];
    const double each =
        (share.below - std::exchange(below, share.below)) / static_cast<double>(share.count);
    for (std::size_t i = 0; i < share.count; ++i) of[sources_[share.first + i].sequence] += each;
  }
  return of;
}

std::vector<double> RoutingReplay::shares_of_run(std::size_t requests) const {
  std::vector<double> drawn(mixes_.size(), 0.0), of(table_->sequences.size(), 0.0);
  for (std::size_t r = 0; r < requests; ++r) drawn[domains_.mix_of(r)] += 1;
  for (std::size_t mix = 0; mix < drawn.size(); ++mix) {
    if (drawn[mix] == 0) continue;
    const std::vector<double> shares = sequence_shares(mix);
    for (std::size_t s = 0; s < of.size(); ++s)
      of[s] += shares[s] * drawn[mix] / static_cast<double>(requests);
  }
  return of;
}

/// The source of a request. Without replacement the requests of a block of kMixBlock have their
/// shares exactly, so that a request's number within its share, and with it the place in the
/// permutation, is a pure function of its number within its mix.
RoutingReplay::Draw RoutingReplay::draw(std::uint64_t request) const {
  const std::uint64_t seed = options_.seed;
  if (options_.replace) {
    const Share& share = share_of_request(request);
    const auto count = static_cast<std::uint32_t>(share.count);
    return {share.first + below(keyed(seed, kPickSequence, request), count), 0};
  }
  const std::uint64_t which = domains_.mix_of(request);
  const Mix& mix = mixes_[which];
  const Share* share = &shares_[mix.first];
  std::uint64_t number = domains_.number_of(request);
  if (mix.count > 1) {
    const std::uint64_t block = number / kMixBlock;
    const std::uint64_t slot =
        permuted(number % kMixBlock, kMixBlock, keyed(seed, kPermuteMix, block, which));
    std::uint32_t begin = 0;
    while (slot >= share->slots_below) begin = share++->slots_below;
    number = block * (share->slots_below - begin) + (slot - begin);
  }
  const std::uint64_t epoch = number / share->count;
  const std::uint64_t key = keyed(seed, kPermute, epoch, which << 32 | share->first);
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
    return drawn_row(walk.request, false, share_of_request(walk.request), index, kDecodeRow);
  return wrapped(walk.decode_first, walk.decode_rows, std::uint64_t{index} - walk.decode_rows,
                 keyed(seed, kDecodeWrap, walk.request));
}

std::uint64_t RoutingReplay::prompt_row(const Walk& walk, std::uint32_t index) const {
  const std::uint64_t seed = options_.seed;
  if (options_.mode != Mode::kSequence)
    return drawn_row(walk.request, true, share_of_request(walk.request), index, kPromptRow);
  const std::uint64_t key = keyed(seed, kPromptWrap, walk.request);
  if (walk.prompt_is_decode) return wrapped(walk.decode_first, walk.decode_rows, index, key);
  if (index < walk.prompt_rows) return walk.prompt_first + index;
  return wrapped(walk.prompt_first, walk.prompt_rows, index - walk.prompt_rows, key);
}

std::uint64_t RoutingReplay::block_row(std::uint64_t block, std::uint32_t offset) const {
  const std::uint64_t seed = options_.seed;
  const Share& share = share_of(mixes_[domains_.mix_of_block(block)], kBlockSequence, block, 1);
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
  return drawn_row(request, prompt, share_of_request(request), index, stream);
}

}  // namespace moesim
