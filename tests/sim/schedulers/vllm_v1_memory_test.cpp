// Step tables of serving-semantics 1.4-1.6, worked out by hand. Notation:
// tests/reference/step_table.h.
#include <doctest/doctest.h>
#include <string>

#include "tests/sim/schedulers/step_cases.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

void check(const std::vector<StepCase>& cases) {
  CHECK(differences(cases) == "");
}

}  // namespace

TEST_CASE("admission stops at the first request that does not fit") {
  check({
      {"head-of-line blocking by memory: 2 would fit, but 1 is before it",
       [](Situation& s) {
         s.blocks = 6;
         s.requests = {{0, 12, 3}, {500, 16, 1}, {500, 4, 1}};
       },
       {"0:12! =3", "0. =2", "0. =2", "1:16! =2", "2:4! =5"}},
      {"without scheduler_reserve_full_isl a first chunk is enough, and its owner is evicted at "
       "once",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 10;
         s.blocks = 4;
         s.requests = {{0, 8, 2}, {0, 12, 1}};
       },
       {"0:8! 1:2 =1", "^1 0. =1", "1:10 =1", "1:2! =1"}},
      {"with it the whole prompt must fit",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 10;
         s.limits.reserve_full_isl = true;
         s.blocks = 4;
         s.requests = {{0, 8, 2}, {0, 12, 1}};
       },
       {"0:8! =2", "0. =1", "1:10 =1", "1:2! =1"}},
      {"of a sliding window only ceil((3 + 4) / 4) + 1 = 3 blocks are asked for, not 6",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 4;
         s.limits.reserve_full_isl = true;
         s.blocks = 3;
         s.groups = {{AttentionKind::kSliding, 4, 1}};
         s.requests = {{0, 24, 1}};
       },
       {"0:4 =2", "0:4 =1", "0:4 =1", "0:4 =1", "0:4 =1", "0:4! =1"}},
  });
}

TEST_CASE("preemption takes the last admitted, which recomputes all it had") {
  check({
      {"0 needs a third block: 1 goes, and nobody is admitted in that step; 1 comes back before 2 "
       "with 4 + 5 tokens",
       [](Situation& s) {
         s.blocks = 4;
         s.requests = {{0, 4, 6}, {0, 4, 6}, {1500, 1, 1}};
       },
       {"0:4! 1:4! =2", "0. 1. =0", "0. 1. =0", "0. 1. =0", "0. 1. =0", "^1 0. =1",
        "1:9! 2:1! =0"}},
      {"the same with prefix caching: its tail block was overwritten first, its head block is a "
       "hit",
       [](Situation& s) {
         s.blocks = 4;
         s.caching = true;
         s.requests = {{0, 4, 6}, {0, 4, 6}, {1500, 1, 1}};
       },
       {"0:4! 1:4! =2", "0. 1. =0", "0. 1. =0", "0. 1. =0", "0. 1. =0", "^1 0. =1",
        "1:5/1! 2:1! =0"}},
      {"two victims in one step: 2 goes first, then 1, which is before it in the queue again",
       [](Situation& s) {
         s.blocks = 4;
         s.limits.long_prefill_token_threshold = 8;
         s.requests = {{0, 16, 1}, {0, 4, 3}, {0, 3, 3}};
       },
       {"0:8 1:4! 2:3! =0", "^2 ^1 0:8! =0", "1:5! 2:4! =1", "1. 2. =0"}},
      {"the last in the list evicts itself",
       [](Situation& s) {
         s.blocks = 3;
         s.requests = {{0, 5, 2}, {0, 4, 2}};
       },
       {"0:5! 1:4! =0", "^1 0. =1", "1:5! =1"}},
  });
}

TEST_CASE("by priority the victim is the largest (priority, arrival)") {
  check({
      {"0 asks and is the worst: it goes, those behind it are left out, and the next call follows "
       "at once",
       [](Situation& s) {
         s.limits.priority = true;
         s.blocks = 4;
         s.requests = {{0, 4, 7, {}, 2}, {500, 4, 6, {}, 1}};
       },
       {"0:4! =3", "0. 1:4! =1", "0. 1. =0", "0. 1. =0", "0. 1. =0", "^0 =2", "1. =2", "1. =1",
        "0:9! =1", "0. =1"}},
      {"0 had been served: its token goes back to the budget, 2 gets 4 instead of 3",
       [](Situation& s) {
         s.limits.priority = true;
         s.limits.max_num_batched_tokens = 5;
         s.blocks = 5;
         s.requests = {{0, 4, 5, {}, 2}, {500, 7, 3, {}, 1}, {600, 8, 1, {}, 1}};
       },
       {"0:4! =4", "0. 1:4 =2", "0. 1:3! 2:1 =0", "0. 1. 2:3 =0", "^0 1. 2:4! =0", "0:5 =3",
        "0:3! =3"}},
      {"0 was passed over (its last token is in flight): vLLM's index then passes over 2 as well",
       [](Situation& s) {
         s.limits.priority = true;
         s.limits.async = true;
         s.blocks = 5;
         s.requests = {{0, 4, 4, {}, 3}, {500, 3, 4, {}, 1}, {500, 5, 3, {}, 1}};
       },
       {"0:4! =4", "0. =3", "0. 1:3! 2:5! =0", "0. 1. 2. =0", "^0 1. =1", "1. 2. =1"}},
  });
}

TEST_CASE("prompts share whole blocks of the same content") {
  check({
      {"two equal prompts in one step: the second hits the first, but its last token is computed",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 8, 1, {{0, 8}}}, {0, 8, 1, {{0, 8}}}};
       },
       {"0:8! 1:4/1! =97"}},
      {"a partly filled last block is nobody else's",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 10, 1, {{0, 10}}}, {0, 10, 1, {{0, 10}}}};
       },
       {"0:10! 1:2/2! =96"}},
      {"a block across two elements belongs to the later one",
       [](Situation& s) {
         s.caching = true;
         s.limits.max_num_batched_tokens = 32;
         s.requests = {{0, 12, 1, {{0, 6}, {1, 12}}}, {0, 12, 1, {{0, 6}, {2, 12}}}};
       },
       {"0:12! 1:8/1! =95"}},
      {"blocks that nobody uses any more are hits until they are overwritten",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 8, 1, {{0, 8}}}, {1500, 12, 1, {{0, 8}, {1, 12}}}};
       },
       {"0:8! =98", "1:4/2! =97"}},
      {"such a hit uses up free blocks: 2 + 2 > 3, so 1 never fits",
       [](Situation& s) {
         s.caching = true;
         s.blocks = 3;
         s.requests = {{0, 8, 1, {{0, 8}}}, {1500, 16, 1, {{0, 8}, {1, 16}}}};
       },
       {"0:8! =1"}},
      {"without prefix caching nothing is shared",
       [](Situation& s) {
         s.requests = {{0, 8, 1, {{0, 8}}}, {0, 8, 1, {{0, 8}}}};
       },
       {"0:8! 1:8! =96"}},
  });
}

TEST_CASE("the cache forgets the least recently freed first, and of a request its tail") {
  check({
      {"1 overwrites the second block of 0, not the first; 2 overwrites the third of 1",
       [](Situation& s) {
         s.caching = true;
         s.blocks = 4;
         s.requests = {{0, 8, 1, {{0, 8}}},
                       {1500, 12, 1, {{1, 12}}},
                       {3500, 8, 1, {{0, 8}}},
                       {5500, 12, 1, {{1, 12}}}};
       },
       {"0:8! =2", "1:12! =1", "2:4/1! =2", "3:4/2! =1"}},
      {"the first copy owns the content: when it is overwritten, 1's copy of it is no hit for 3",
       [](Situation& s) {
         s.caching = true;
         s.blocks = 5;
         s.requests = {
             {0, 8, 1, {{0, 8}}}, {0, 8, 3, {{0, 8}}}, {500, 8, 1}, {1500, 9, 1, {{0, 8}}}};
       },
       {"0:8! 1:4/1! =2", "1. 2:8! =0", "1. 3:5/1! =0"}},
  });
}

TEST_CASE("generated tokens are cached where the workload continues them") {
  check({
      {"a session's next turn hits prompt and answer: 5 + 4 - 1 computed tokens, two blocks",
       [](Situation& s) {
         s.caching = s.continues = true;
         s.requests = {{0, 5, 4, {{0, 5}}}, {5500, 12, 1, {{0, 12}}}};
       },
       {"0:5! =98", "0. =98", "0. =98", "0. =98", "1:4/2! =97"}},
      {"with async scheduling one token less is registered",
       [](Situation& s) {
         s.caching = s.continues = true;
         s.limits.async = true;
         s.requests = {{0, 5, 4, {{0, 5}}}, {5500, 12, 1, {{0, 12}}}};
       },
       {"0:5! =98", "0. =98", "0. =98", "0. =98", "1:8/1! =97"}},
      {"a closed chain ends with the prompt",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 5, 4, {{0, 5}}}, {5500, 12, 1, {{0, 12}}}};
       },
       {"0:5! =98", "0. =98", "0. =98", "0. =98", "1:8/1! =97"}},
      {"an element that ends before the prompt does not cover what follows",
       [](Situation& s) {
         s.caching = s.continues = true;
         s.requests = {{0, 9, 1, {{0, 4}}}, {1500, 9, 1, {{0, 4}}}};
       },
       {"0:9! =97", "1:5/1! =97"}},
  });
}

TEST_CASE("blocks leave attention windows") {
  check({
      {"sliding window of 4: at 7 computed tokens the next sees 4..7, block 0 goes",
       [](Situation& s) {
         s.groups = {{AttentionKind::kSliding, 4, 1}};
         s.requests = {{0, 4, 6}};
       },
       {"0:4! =99", "0. =98", "0. =98", "0. =98", "0. =99", "0. =98"}},
      {"chunks of 8: at the border both blocks of the chunk before go",
       [](Situation& s) {
         s.groups = {{AttentionKind::kChunked, 8, 1}};
         s.requests = {{0, 7, 4}};
       },
       {"0:7! =98", "0. =98", "0. =99", "0. =99"}},
      {"a hit of four blocks needs four in the full group and one in a window of 5",
       [](Situation& s) {
         s.caching = true;
         s.groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 5, 1}};
         s.requests = {{0, 16, 1, {{0, 16}}}, {1500, 17, 1, {{0, 16}}}};
       },
       {"0:16! =92", "1:1/4! =93"}},
      {"groups agree on two blocks: the full group has three, but block 2 left the window of 0 and "
       "was overwritten first, so the window finds its last block at two",
       [](Situation& s) {
         s.blocks = 9;
         s.caching = true;
         s.groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 5, 1}};
         s.requests = {{0, 16, 2, {{0, 16}}}, {2500, 13, 1, {{0, 12}}}};
       },
       {"0:16! =1", "0. =2", "1:5/2! =2"}},
  });
}
