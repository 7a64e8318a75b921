// Step tables of serving-semantics 8.2, worked out by hand. Notation: tests/reference/step_table.h.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/schedulers/step_cases.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

/// Blocks of four tokens, 16 tokens a step, whole prompts, no overlap.
void trtllm_defaults(Situation& s) {
  s.scheduler = "trtllm";
  s.limits.chunked_prefill = false;
}

void check_trtllm(const std::vector<StepCase>& cases) {
  CHECK(differences(cases, trtllm_defaults) == "");
}

}  // namespace

TEST_CASE("prompts and decodes share a step") {
  check_trtllm({
      {"1 joins while 0 decodes",
       [](Situation& s) {
         s.requests = {{0, 4, 3}, {500, 4, 2}};
       },
       {"0:4! =99", "0. 1:4! =97", "0. 1. =96"}},
      {"a prompt that does not fit the step waits, and so do those behind it",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 10;
         s.requests = {{0, 6, 1}, {0, 6, 1}, {0, 2, 1}};
       },
       {"0:6! =98", "1:6! 2:2! =97"}},
      {"decodes count: 9 tokens are left for a prompt of 10",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 10;
         s.requests = {{0, 4, 3}, {500, 10, 1}};
       },
       {"0:4! =99", "0. =98", "0. =98", "1:10! =97"}},
      {"in chunks: 10 tokens are 8 in whole blocks; the prompt holds its 4 blocks from the start",
       [](Situation& s) {
         s.limits.chunked_prefill = true;
         s.limits.max_num_batched_tokens = 10;
         s.requests = {{0, 14, 1}, {0, 14, 1}};
       },
       {"0:8 =96", "0:6! 1:4 =92", "1:10! =96"}},
      {"max_batch_size 2",
       [](Situation& s) {
         s.limits.max_num_seqs = 2;
         s.requests = {{0, 2, 1}, {0, 2, 2}, {0, 2, 1}};
       },
       {"0:2! 1:2! =98", "1. 2:2! =98"}},
  });
}

TEST_CASE("new prompts wait beside decodes for company, a few steps at most") {
  check_trtllm({
      {"half of 16 tokens: 1 + 4 are too few until 2 makes them 9",
       [](Situation& s) {
         s.limits.trtllm.batch_wait_max_tokens_ratio = 0.5;
         s.limits.trtllm.batch_wait_timeout_iters = 9;
         s.requests = {{0, 4, 5}, {500, 4, 1}, {2'500, 4, 1}};
       },
       {"0:4! =99", "0. =98", "0. =98", "0. 1:4! 2:4! =96", "0. =98"}},
      {"after two steps it waits no longer",
       [](Situation& s) {
         s.limits.trtllm.batch_wait_max_tokens_ratio = 0.5;
         s.limits.trtllm.batch_wait_timeout_iters = 2;
         s.requests = {{0, 4, 5}, {500, 4, 1}};
       },
       {"0:4! =99", "0. =98", "0. =98", "0. 1:4! =97", "0. =98"}},
      {"without decodes nobody waits",
       [](Situation& s) {
         s.limits.trtllm.batch_wait_max_tokens_ratio = 0.5;
         s.limits.trtllm.batch_wait_timeout_iters = 9;
         s.requests = {{0, 4, 1}, {5'000, 4, 1}};
       },
       {"0:4! =99", "1:4! =99"}},
      {"a place for one more only: the second of the queue does not count, and waits as long",
       [](Situation& s) {
         s.limits.max_num_seqs = 2;
         s.limits.trtllm.batch_wait_max_tokens_ratio = 0.5;
         s.limits.trtllm.batch_wait_timeout_iters = 2;
         s.requests = {{0, 4, 6}, {500, 4, 1}, {500, 4, 1}};
       },
       {"0:4! =99", "0. =98", "0. =98", "0. 1:4! =97", "0. =98", "0. =97", "2:4! =99"}},
  });
}

TEST_CASE("guaranteed_no_evict starts what can be finished") {
  check_trtllm({
      {"0 will take 3 of 4 blocks; 1 needs 2, and 2 waits behind it though 1 block would do",
       [](Situation& s) {
         s.blocks = 4;
         s.requests = {{0, 4, 8}, {0, 4, 1}, {0, 1, 1}};
       },
       {"0:4! =3", "0. =2", "0. =2", "0. =2", "0. =2", "0. =1", "0. =1", "0. =1", "1:4! 2:1! =2"}},
      {"what a request has taken is not reserved twice: 5 blocks carry 3 + 2 from the start",
       [](Situation& s) {
         s.blocks = 5;
         s.requests = {{0, 4, 8}, {500, 4, 2}}, s.limits.max_num_seqs = 2;
       },
       {"0:4! =4", "0. 1:4! =2", "0. 1. =1", "0. =3", "0. =3", "0. =2", "0. =2", "0. =2"}},
      {"a cached prefix in use needs nothing: 1 fits beside 0",
       [](Situation& s) {
         s.caching = true;
         s.blocks = 4;
         s.requests = {{0, 8, 4, {{0, 8}}}, {500, 9, 1, {{0, 8}, {1, 9}}}};
       },
       {"0:8! =2", "0. 1:1/2! =0", "0. =1", "0. =1"}},
  });
}

TEST_CASE("max_utilization starts what fits now, and pauses what started last") {
  check_trtllm({
      {"at the ninth token no block is left: 1 is paused and recomputes 4 + 5 tokens",
       [](Situation& s) {
         s.limits.trtllm.max_utilization = true;
         s.blocks = 4;
         s.requests = {{0, 4, 8}, {0, 4, 8}};
       },
       {"0:4! 1:4! =2", "0. 1. =0", "0. 1. =0", "0. 1. =0", "0. 1. =0", "^1 0. =1", "0. =1",
        "0. =1", "1:9! =1", "1. =1", "1. =1"}},
      {"no-evict would not have started 1 before 0 was done",
       [](Situation& s) {
         s.blocks = 4;
         s.requests = {{0, 4, 5}, {0, 4, 5}};
       },
       {"0:4! =3", "0. =2", "0. =2", "0. =2", "0. =2", "1:4! =3", "1. =2", "1. =2", "1. =2",
        "1. =2"}},
  });
}

TEST_CASE("a prompt waits for a block that another one is computing") {
  check_trtllm({
      {"1 shares 8 tokens with 0: it is passed over by 2 and hits them a step later",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 8, 1, {{0, 8}}}, {0, 12, 1, {{0, 8}, {1, 12}}}, {0, 4, 1}};
       },
       {"0:8! 2:4! =97", "1:4/2! =97"}},
      {"less than a block in common is nothing to wait for",
       [](Situation& s) {
         s.caching = true;
         s.requests = {{0, 6, 1, {{0, 3}, {1, 6}}}, {0, 6, 1, {{0, 3}, {2, 6}}}};
       },
       {"0:6! 1:6! =96"}},
  });
}

TEST_CASE("the overlap scheduler runs one step more") {
  check_trtllm({
      {"0 ends with the second line",
       [](Situation& s) {
         s.limits.async = s.limits.extra_step = true;
         s.times = true;
         s.requests = {{0, 4, 2}};
       },
       {"0 0:4! =99", "0 0. =98", "1000 0. =98"}},
      {"1 is scheduled when the last token of 0 is out, behind the extra step of 0",
       [](Situation& s) {
         s.limits.async = s.limits.extra_step = true;
         s.times = true;
         s.blocks = 3;
         s.requests = {{0, 4, 3}, {0, 4, 1}};
       },
       {"0 0:4! =2", "0 0. =1", "1000 0. =1", "2000 0. =1", "3000 1:4! =2", "4000 1. =1"}},
  });
}
