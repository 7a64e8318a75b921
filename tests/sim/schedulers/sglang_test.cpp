// Step tables of serving-semantics 8.1, worked out by hand. Notation: tests/reference/step_table.h.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/schedulers/step_cases.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

/// Pages of one token, chunks of 16, 100 tokens of memory, no overlap.
void sglang_defaults(Situation& s) {
  s.scheduler = "sglang";
  s.block_size = 1;
}

void check_sglang(const std::vector<StepCase>& cases) {
  CHECK(differences(cases, sglang_defaults) == "");
}

void overlap(Situation& s) {
  s.limits.async = s.limits.extra_step = true;
}

}  // namespace

TEST_CASE("prompts run first, in batches of their own") {
  check_sglang({
      {"1 arrives while 0 decodes: 0 stalls for a step",
       [](Situation& s) {
         s.requests = {{0, 4, 3}, {1500, 4, 2}};
       },
       {"0:4! =96", "0. =95", "1:4! =91", "0. 1. =89"}},
      {"one partial prompt at a time; when it ends, the next may be cut in the same batch",
       [](Situation& s) {
         s.requests = {{0, 20, 1}, {0, 30, 1}, {0, 4, 1}};
       },
       {"0:16 =84", "0:4! 1:12 =68", "1:16 =72", "1:2! 2:4! =66"}},
      {"decodes wait until the last chunk is done",
       [](Situation& s) {
         s.requests = {{0, 4, 3}, {500, 40, 1}};
       },
       {"0:4! =96", "1:16 =80", "1:16 =64", "1:8! =56", "0. =95", "0. =94"}},
      {"max_prefill_tokens 8: after 6 tokens the next 6 are too many, and hold up a small one",
       [](Situation& s) {
         s.limits.sglang.max_prefill_tokens = 8;
         s.requests = {{0, 6, 1}, {0, 6, 1}, {0, 1, 1}};
       },
       {"0:6! =94", "1:6! 2:1! =93"}},
      {"without chunks a prompt runs whole, however long",
       [](Situation& s) {
         s.limits.chunked_prefill = false;
         s.requests = {{0, 40, 1}, {0, 4, 1}};
       },
       {"0:40! 1:4! =56"}},
      {"a chunk ends with a page: 10 tokens are 8 in pages of 4",
       [](Situation& s) {
         s.block_size = 4;
         s.limits.max_num_batched_tokens = 10;
         s.requests = {{0, 20, 1}};
       },
       {"0:8 =98", "0:8 =96", "0:4! =95"}},
      {"enable_mixed_chunk: the decode rides along",
       [](Situation& s) {
         s.limits.sglang.enable_mixed_chunk = true;
         s.requests = {{0, 4, 3}, {1500, 8, 1}};
       },
       {"0:4! =96", "0. =95", "0. 1:8! =86"}},
      {"and its token comes out of the chunk: 15 of the prompt's 16",
       [](Situation& s) {
         s.limits.sglang.enable_mixed_chunk = true;
         s.requests = {{0, 4, 4}, {500, 16, 1}};
       },
       {"0:4! =96", "0. 1:15 =80", "0. 1:1! =78", "0. =93"}},
  });
}

TEST_CASE("admission reserves the expected output") {
  check_sglang({
      {"0 reserves its 8 tokens, so 1 sees 12 - 8 = 4 and needs 2 + 2; full until 0 leaves",
       [](Situation& s) {
         s.blocks = 16;
         s.requests = {{0, 4, 8}, {0, 2, 2}};
       },
       {"0:4! =12", "0. =11", "0. =10", "0. =9", "0. =8", "0. =7", "0. =6", "0. =5", "1:2! =14",
        "1. =13"}},
      {"one token more of memory, and both fit",
       [](Situation& s) {
         s.blocks = 17;
         s.requests = {{0, 4, 3}, {0, 9, 4}};
       },
       {"0:4! =13", "0. =12", "0. =11", "1:9! =8", "1. =7", "1. =6", "1. =5"}},
      {"of a running request it is 0.7 x what is left: 16 - 0.7 x 10 = 9, and 1 needs 3 + 6",
       [](Situation& s) {
         s.blocks = 20;
         s.requests = {{0, 4, 11}, {500, 3, 6}};
       },
       {"0:4! =16", "0. =15", "0. =14", "0. =13", "0. =12", "0. =11", "0. =10", "0. =9", "0. =8",
        "0. =7", "0. =6", "1:3! =17", "1. =16", "1. =15", "1. =14", "1. =13", "1. =12"}},
      {"schedule_conservativeness 0.5 makes it 16 - 3.5",
       [](Situation& s) {
         s.limits.sglang.schedule_conservativeness = 0.5;
         s.blocks = 20;
         s.requests = {{0, 4, 11}, {500, 3, 6}};
       },
       {"0:4! =16", "1:3! =13", "0. 1. =11", "0. 1. =9", "0. 1. =7", "0. 1. =5", "0. 1. =3",
        "0. =10", "0. =9", "0. =8", "0. =7", "0. =6"}},
      {"max_running_requests 1",
       [](Situation& s) {
         s.limits.max_num_seqs = 1;
         s.requests = {{0, 4, 2}, {0, 4, 1}};
       },
       {"0:4! =96", "0. =95", "1:4! =96"}},
  });
}

TEST_CASE("retraction takes the fewest outputs, of equals the longest prompt") {
  const auto crowd = [](Situation& s) {
    s.limits.sglang.schedule_conservativeness = 0.01;
    s.blocks = 10;
    s.requests = {{0, 3, 5}, {500, 2, 4}};
  };
  check_sglang({
      {"both made 3 tokens when one is left for two: 0 goes, and recomputes 3 + 3",
       crowd,
       {"0:3! =7", "1:2! =5", "0. 1. =3", "0. 1. =1", "^0 1. =5", "0:6! =4", "0. =3"}},
      {"with the radix cache its prompt is still there, what it generated is not",
       [](Situation& s) {
         s.limits.sglang.schedule_conservativeness = 0.01;
         s.caching = true;
         s.blocks = 10;
         s.requests = {{0, 3, 5}, {500, 2, 4}};
       },
       {"0:3! =7", "1:2! =5", "0. 1. =3", "0. 1. =1", "^0 1. =5", "0:3/3! =4", "0. =3"}},
      {"1 came later and made fewer: it goes, to the end of the queue, behind 2",
       [](Situation& s) {
         s.limits.sglang.schedule_conservativeness = 0.01;
         s.blocks = 12;
         s.requests = {{0, 3, 7}, {1500, 2, 5}, {5500, 1, 1}};
       },
       {"0:3! =9", "0. =8", "1:2! =6", "0. 1. =4", "0. 1. =2", "0. 1. =0", "^1 0. =4", "2:1! =3",
        "0. =3", "1:6! =6"}},
  });
}

TEST_CASE("the radix cache hits to the token") {
  check_sglang({
      {"equal prompts of one batch are both computed; then one copy is freed",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 4, 2, {{0, 4}}}, {0, 4, 2, {{0, 4}}}};
       },
       {"0:4! 1:4! =92", "0. 1. =94"}},
      {"a later one hits 4 tokens, an equal one all but the last",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 4, 1, {{0, 4}}}, {1500, 6, 1, {{0, 4}, {1, 6}}}, {2500, 4, 1, {{0, 4}}}};
       },
       {"0:4! =96", "1:2/4! =94", "2:1/3! =96"}},
      {"a chunk is cached when the next step is scheduled: 1 hits 15 of it",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 24, 1, {{0, 24}}}, {0, 16, 1, {{0, 16}}}};
       },
       {"0:16 =84", "0:8! 1:1/15! =75"}},
      {"disable_radix_cache: nothing is shared",
       [](Situation& s) {
         s.requests = {{0, 4, 1, {{0, 4}}}, {1500, 4, 1, {{0, 4}}}};
       },
       {"0:4! =96", "1:4! =96"}},
      {"lpm: the longest cached prefix goes first",
       [](Situation& s) {
         s.caching = s.limits.sglang.longest_prefix_first = true;
         s.requests = {{0, 8, 1, {{0, 8}}}, {500, 6, 1}, {500, 9, 1, {{0, 8}, {1, 9}}}};
       },
       {"0:8! =92", "2:1/8! 1:6! =85"}},
      {"lpm: who shares 32 tokens with a prompt not computed yet goes last",
       [](Situation& s) {
         s.caching = s.limits.sglang.longest_prefix_first = true;
         s.limits.max_num_batched_tokens = 35;
         s.requests = {{0, 33, 1, {{0, 33}}}, {0, 34, 1, {{0, 33}, {1, 34}}}, {0, 2, 1}};
       },
       {"0:33! 2:2! =65", "1:1/33! =66"}},
  });
}

TEST_CASE("the overlap scheduler runs one step more for everybody") {
  check_sglang({
      {"0 ends with the second line, which nobody has looked at when the third is scheduled",
       [](Situation& s) {
         overlap(s);
         s.times = true;
         s.requests = {{0, 4, 2}};
       },
       {"0 0:4! =96", "0 0. =95", "1000 0. =94"}},
      {"the step after is a prefill: no extra step for 0, but one for 1",
       [](Situation& s) {
         overlap(s);
         s.times = true;
         s.requests = {{0, 4, 2}, {100, 4, 1}};
       },
       {"0 0:4! =96", "0 0. =95", "1000 1:4! =91", "2000 1. =95"}},
      {"a full batch is looked at again one decode after its first request left",
       [](Situation& s) {
         overlap(s);
         s.limits.max_num_seqs = 2;
         s.requests = {{0, 4, 2}, {0, 4, 6}, {0, 4, 1}};
       },
       {"0:4! 1:4! =92", "0. 1. =90", "0. 1. =88", "1. =93", "2:4! =89", "1. 2. =87", "1. =91",
        "1. =90"}},
  });
}
