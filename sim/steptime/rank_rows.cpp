#include "sim/steptime/rank_rows.h"

#include <algorithm>
#include <cstring>

#include "sim/base/check.h"

namespace moesim {
namespace {

using Word = std::uint64_t;

constexpr Word kLowHalves = 0x0f0f0f0f0f0f0f0fULL, kFirstBits = 0x1111111111111111ULL;
constexpr std::size_t kTogether = 4;  ///< rows added in one pass over the sums
constexpr unsigned kByteMost = 255;
/// Rows fetched ahead (performance.md 4, rule 8), and the words one request to memory brings.
constexpr std::size_t kAhead = 2 * kTogether, kLineWords = 8;

/// Sums in bytes, of one block of rows.
struct ByteSums {
  Word* low;
  Word* high;
  Word* low_once;  ///< null: not wanted
  Word* high_once;
};

/// The first bit of every half that is not zero.
[[gnu::always_inline]] inline Word once(Word halves) {
  halves |= halves >> 1;
  return (halves | halves >> 2) & kFirstBits;
}

/// Adds four rows. Everything is done on whole words: no sum leaves its half or byte.
template <bool kOnce>
[[gnu::always_inline]] inline void add_rows(const Word* const* rows, std::size_t words,
                                            const ByteSums& sums) {
  const Word* __restrict a = rows[0];
  const Word* __restrict b = rows[1];
  const Word* __restrict c = rows[2];
  const Word* __restrict d = rows[3];
  Word* __restrict low = sums.low;
  Word* __restrict high = sums.high;
  Word* __restrict low_once = sums.low_once;
  Word* __restrict high_once = sums.high_once;
  for (std::size_t i = 0; i < words; ++i) {
    low[i] += (a[i] & kLowHalves) + (b[i] & kLowHalves) + (c[i] & kLowHalves) + (d[i] & kLowHalves);
    high[i] += (a[i] >> 4 & kLowHalves) + (b[i] >> 4 & kLowHalves) + (c[i] >> 4 & kLowHalves) +
               (d[i] >> 4 & kLowHalves);
    if constexpr (kOnce) {
      const Word seen = once(a[i]) + once(b[i]) + once(c[i]) + once(d[i]);  // at most 4 a half
      low_once[i] += seen & kLowHalves;
      high_once[i] += seen >> 4 & kLowHalves;
    }
  }
}

/// Adds up to a block of rows; past their end come `ahead` more that will be wanted soon.
template <bool kOnce>
[[gnu::always_inline]] inline void add_block(const Word* const* rows, std::size_t count,
                                             std::size_t ahead, std::size_t words,
                                             const ByteSums& sums) {
  for (std::size_t i = 0; i < count; i += kTogether) {
    for (std::size_t j = i + kAhead; j < std::min(i + kAhead + kTogether, ahead); ++j) {
      for (std::size_t w = 0; w < words; w += kLineWords) __builtin_prefetch(rows[j] + w);
    }
    add_rows<kOnce>(rows + i, words, sums);
  }
}

using AddBlock = void (*)(const Word* const*, std::size_t, std::size_t, std::size_t,
                          const ByteSums&);

template <bool kOnce>
void add_plain(const Word* const* rows, std::size_t count, std::size_t ahead, std::size_t words,
               const ByteSums& sums) {
  add_block<kOnce>(rows, count, ahead, words, sums);
}

#if defined(__x86_64__)
template <bool kOnce>
[[gnu::target("avx2")]] void add_avx2(const Word* const* rows, std::size_t count, std::size_t ahead,
                                      std::size_t words, const ByteSums& sums) {
  add_block<kOnce>(rows, count, ahead, words, sums);
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0;
}
#else
template <bool kOnce>
constexpr AddBlock add_avx2 = add_plain<kOnce>;
bool has_avx2() {
  return false;
}
#endif

AddBlock kernel(bool fast, bool once) {
  if (once) return fast ? add_avx2<true> : add_plain<true>;
  return fast ? add_avx2<false> : add_plain<false>;
}

/// Moves sums in bytes to where there is room.
void widen(const Word* bytes, std::size_t words, std::vector<std::uint32_t>& sums) {
  const auto* const from = reinterpret_cast<const std::uint8_t*>(bytes);
  for (std::size_t i = 0; i < words * sizeof(Word); ++i) sums[i] += from[i];
}

}  // namespace

RankRows::RankRows(const RoutingTable& table, const ReplicaRanks& replicas, bool copies,
                   std::size_t most_bytes)
    : table_(table),
      replicas_(replicas),
      copies_(copies),
      fast_(has_avx2()),
      ranks_(replicas.ranks()),
      nodes_(copies ? replicas.nodes() : 0) {
  const auto layers = static_cast<std::size_t>(table.shape().layers);
  layer_bytes_ = static_cast<std::size_t>(ranks_ + nodes_ + 1) / 2;
  words_ = (layers * layer_bytes_ + sizeof(Word) - 1) / sizeof(Word);
  const auto most = static_cast<unsigned>(std::min(table.shape().top_k, kMostChoices));
  block_ = kByteMost / most / kTogether * kTogether;
  const std::uint64_t room = std::max<std::uint64_t>(1, most_bytes / (words_ * sizeof(Word)));
  slots_ = std::min(table.rows(), room);
  // The last row is of zeros: it fills blocks up.
  store_ = std::make_unique_for_overwrite<Word[]>((slots_ + 1) * words_);
  std::fill_n(store_.get() + slots_ * words_, words_, Word{0});
  holds_.assign(slots_, 0);
  bytes_.assign((copies ? 4 : 2) * words_, 0);
  for (auto* sums : {&low_, &high_, &low_once_, &high_once_}) sums->resize(words_ * sizeof(Word));
  loads_.resize(layers * 2 * layer_bytes_);
  once_.resize(copies ? loads_.size() : 0);
}

void RankRows::use(Kernel kernel) {
  fast_ = kernel == Kernel::kBest && has_avx2();
}

void RankRows::expand(std::uint64_t row, Word* words) const {
  table_.check_rows(row, 1);
  std::fill_n(words, words_, Word{0});
  auto* const bytes = reinterpret_cast<std::uint8_t*>(words);
  const int top_k = table_.shape().top_k;
  for (int layer = 0; layer < table_.shape().layers; ++layer) {
    std::uint8_t* const cells = bytes + static_cast<std::size_t>(layer) * layer_bytes_;
    // The first half of a layer's entries are the low halves of its bytes.
    const auto add = [&](int entry, int most) {
      const auto at = static_cast<std::size_t>(entry);
      const int shift = at < layer_bytes_ ? 0 : 4;
      std::uint8_t& cell = cells[shift == 0 ? at : at - layer_bytes_];
      if ((cell >> shift & 0x0f) < most) cell = static_cast<std::uint8_t>(cell + (1 << shift));
    };
    for (int k = 0; k < top_k; ++k) {
      const int rank = replicas_.rank(layer, table_.expert(row, layer, k), 0);
      add(rank, kMostChoices);
      if (copies_) add(ranks_ + replicas_.node(rank), 1);
    }
  }
}

/// Null if another row of the sum would have to go for it first.
const Word* RankRows::expanded(std::uint64_t row) {
  const std::uint64_t slot = slots_ == table_.rows() ? row : row % slots_;
  Word* const words = store_.get() + slot * words_;
  if (holds_[slot] == row + 1) return words;
  if (holds_[slot] != 0 && !found_.empty()) return nullptr;
  expand(row, words);
  holds_[slot] = row + 1;
  return words;
}

void RankRows::sum(std::span<const std::uint64_t> rows) {
  for (auto* sums : {&low_, &high_, &low_once_, &high_once_}) std::ranges::fill(*sums, 0U);
  found_.clear();
  found_.reserve(rows.size() + kTogether);
  for (const std::uint64_t row : rows) {
    const Word* words = expanded(row);
    if (words == nullptr) {
      sum_found();
      words = expanded(row);
    }
    found_.push_back(words);
  }
  sum_found();
  spread(low_, high_, loads_);
  if (copies_) spread(low_once_, high_once_, once_);
}

/// Adds up what `found_` lists, and empties it.
void RankRows::sum_found() {
  while (found_.size() % kTogether != 0) found_.push_back(store_.get() + slots_ * words_);
  const ByteSums sums{bytes_.data(), bytes_.data() + words_,
                      copies_ ? bytes_.data() + 2 * words_ : nullptr,
                      copies_ ? bytes_.data() + 3 * words_ : nullptr};
  const AddBlock add = kernel(fast_, copies_);
  for (std::size_t first = 0; first < found_.size(); first += block_) {
    const std::size_t count = std::min(block_, found_.size() - first);
    add(found_.data() + first, count, found_.size() - first, words_, sums);
    flush();
  }
  found_.clear();
}

void RankRows::flush() {
  widen(bytes_.data(), words_, low_);
  widen(bytes_.data() + words_, words_, high_);
  if (copies_) {
    widen(bytes_.data() + 2 * words_, words_, low_once_);
    widen(bytes_.data() + 3 * words_, words_, high_once_);
  }
  std::ranges::fill(bytes_, Word{0});
}

/// Entries of a layer in their order.
void RankRows::spread(const std::vector<std::uint32_t>& low, const std::vector<std::uint32_t>& high,
                      std::vector<std::uint32_t>& out) const {
  for (std::size_t layer = 0; 2 * layer * layer_bytes_ < out.size(); ++layer) {
    const std::size_t at = layer * layer_bytes_;
    std::copy_n(low.begin() + static_cast<std::ptrdiff_t>(at), layer_bytes_,
                out.begin() + static_cast<std::ptrdiff_t>(2 * at));
    std::copy_n(high.begin() + static_cast<std::ptrdiff_t>(at), layer_bytes_,
                out.begin() + static_cast<std::ptrdiff_t>(2 * at + layer_bytes_));
  }
}

std::span<const std::uint32_t> RankRows::cut(const std::vector<std::uint32_t>& of, int layer,
                                             int first, int count) const {
  return std::span(of).subspan(
      static_cast<std::size_t>(layer) * 2 * layer_bytes_ + static_cast<std::size_t>(first),
      static_cast<std::size_t>(count));
}
std::span<const std::uint32_t> RankRows::loads(int layer) const {
  return cut(loads_, layer, 0, ranks_);
}
std::span<const std::uint32_t> RankRows::rank_copies(int layer) const {
  return cut(once_, layer, 0, copies_ ? ranks_ : 0);
}
std::span<const std::uint32_t> RankRows::node_copies(int layer) const {
  return cut(once_, layer, copies_ ? ranks_ : 0, nodes_);
}

}  // namespace moesim
