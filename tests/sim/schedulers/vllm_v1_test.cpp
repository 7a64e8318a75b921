// Step tables of serving-semantics 1.3, 1.7 and 1.9, worked out by hand. Notation:
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

TEST_CASE("the budget goes to running requests in list order, then to the queue") {
  check({
      {"a prompt is computed in chunks of the budget; the last one samples",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 4;
         s.requests = {{0, 10, 2}};
       },
       {"0:4 =99", "0:4 =98", "0:2! =97", "0. =97"}},
      {"decodes come first, a new prompt gets what is left of 8: 7, then 3",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 8;
         s.requests = {{0, 4, 3}, {500, 10, 1}};
       },
       {"0:4! =99", "0. 1:7 =96", "0. 1:3! =95"}},
      {"an early long prompt takes the whole budget until it is done",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 8;
         s.requests = {{0, 20, 1}, {0, 4, 1}};
       },
       {"0:8 =98", "0:8 =96", "0:4! 1:4! =94"}},
      {"long_prefill_token_threshold caps each share; what is left goes down the list",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 8;
         s.limits.long_prefill_token_threshold = 6;
         s.requests = {{0, 20, 1}, {0, 20, 1}};
       },
       {"0:6 1:2 =97", "0:6 1:2 =96", "0:6 1:2 =93", "0:2! 1:6 =92", "1:6 =95", "1:2! =95"}},
      {"one step admits until the budget is used up; the last prompt is cut",
       [](Situation& s) {
         s.requests = {{0, 5, 1}, {0, 5, 1}, {0, 10, 1}};
       },
       {"0:5! 1:5! 2:6 =94", "2:4! =97"}},
      {"max_num_seqs bounds the running list",
       [](Situation& s) {
         s.limits.max_num_seqs = 2;
         s.requests = {{0, 4, 2}, {0, 4, 1}, {0, 4, 1}};
       },
       {"0:4! 1:4! =98", "0. 2:4! =97"}},
      {"without chunked prefill a prompt waits for a budget that holds all of it, and so do those "
       "behind it",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 8;
         s.limits.chunked_prefill = false;
         s.requests = {{0, 4, 3}, {500, 8, 1}, {500, 2, 1}};
       },
       {"0:4! =99", "0. =98", "0. =98", "1:8! =98", "2:2! =99"}},
      {"without chunked prefill the threshold still cuts a prompt",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 8;
         s.limits.chunked_prefill = false;
         s.limits.long_prefill_token_threshold = 6;
         s.requests = {{0, 10, 1}};
       },
       {"0:6 =98", "0:4! =97"}},
  });
}

TEST_CASE("the queue is served in order of arrival or of priority") {
  check({
      {"first come, first served",
       [](Situation& s) {
         s.limits.max_num_seqs = 1;
         s.requests = {{0, 4, 1, {}, 5}, {0, 4, 1, {}, 1}};
       },
       {"0:4! =99", "1:4! =99"}},
      {"by priority the smaller value first, ties by arrival",
       [](Situation& s) {
         s.limits.max_num_seqs = 1;
         s.limits.priority = true;
         s.requests = {{0, 4, 1, {}, 5}, {0, 4, 1, {}, 1}, {0, 4, 1, {}, 1}};
       },
       {"1:4! =99", "2:4! =99", "0:4! =99"}},
      {"priority rules the queue, not the running list: 0 keeps its place",
       [](Situation& s) {
         s.limits.max_num_batched_tokens = 4;
         s.limits.priority = true;
         s.requests = {{0, 8, 1, {}, 5}, {500, 4, 1, {}, 1}};
       },
       {"0:4 =99", "0:4! =98", "1:4! =99"}},
  });
}

TEST_CASE("a request ends by length, by max_model_len, or by eos") {
  check({
      {"max_model_len cuts the output: 4 + 2 tokens",
       [](Situation& s) {
         s.limits.max_model_len = 6;
         s.requests = {{0, 4, 50}};
       },
       {"0:4! =99", "0. =98"}},
      {"one output token: the prompt's last chunk is all",
       [](Situation& s) {
         s.requests = {{0, 4, 1}};
       },
       {"0:4! =99"}},
      {"async, by length: the end is known, no step is wasted",
       [](Situation& s) {
         s.limits.async = true;
         s.requests = {{0, 3, 2}};
       },
       {"0:3! =99", "0. =99"}},
      {"async, by eos: one more step runs, takes a block, and is thrown away",
       [](Situation& s) {
         s.limits.async = true;
         s.limits.finish_eos = true;
         s.requests = {{0, 3, 2}};
       },
       {"0:3! =99", "0. =99", "0. =98"}},
      {"async, by eos after one token: the wasted step follows the prompt",
       [](Situation& s) {
         s.limits.async = true;
         s.limits.finish_eos = true;
         s.requests = {{0, 3, 1}};
       },
       {"0:3! =99", "0. =99"}},
      {"async, by eos at max_model_len: nothing more can run",
       [](Situation& s) {
         s.limits.async = true;
         s.limits.finish_eos = true;
         s.limits.max_model_len = 5;
         s.requests = {{0, 3, 9}};
       },
       {"0:3! =99", "0. =99"}},
      {"by eos without async nothing is wasted",
       [](Situation& s) {
         s.limits.finish_eos = true;
         s.requests = {{0, 3, 2}};
       },
       {"0:3! =99", "0. =99"}},
  });
}

TEST_CASE("a schedule call sees what is out, with async scheduling one step late") {
  check({
      {"sync: the slot is free when the next call comes",
       [](Situation& s) {
         s.times = true;
         s.limits.max_num_seqs = 1;
         s.requests = {{0, 4, 2}, {0, 4, 1}};
       },
       {"0 0:4! =99", "1000 0. =98", "2000 1:4! =99"}},
      {"async: the call at 1000 still counts the request whose last token runs",
       [](Situation& s) {
         s.times = true;
         s.limits.max_num_seqs = 1;
         s.limits.async = true;
         s.requests = {{0, 4, 2}, {0, 4, 1}};
       },
       {"0 0:4! =99", "0 0. =98", "2000 1:4! =99"}},
      {"async: with room in the list the queue moves while the last token runs",
       [](Situation& s) {
         s.times = true;
         s.limits.async = true;
         s.requests = {{0, 4, 2}, {500, 4, 1}};
       },
       {"0 0:4! =99", "0 0. =98", "1000 1:4! =97"}},
      {"async: its blocks come free one step later, so admission lags",
       [](Situation& s) {
         s.times = true;
         s.limits.async = true;
         s.blocks = 2;
         s.requests = {{0, 4, 2}, {500, 4, 1}};
       },
       {"0 0:4! =1", "0 0. =0", "2000 1:4! =1"}},
  });
}

TEST_CASE("pipeline parallelism keeps a batch per stage in flight") {
  check({
      {"the next chunk is scheduled while the one before runs; a decode waits for its token",
       [](Situation& s) {
         s.times = true;
         s.limits.pipeline_stages = 2;
         s.limits.max_num_batched_tokens = 4;
         s.requests = {{0, 8, 2}};
       },
       {"0 0:4 =99", "0 0:4! =98", "3000 0. =97"}},
      {"what was schedulable together stays together: one stage works at a time",
       [](Situation& s) {
         s.times = true;
         s.limits.pipeline_stages = 2;
         s.requests = {{0, 4, 3}, {0, 4, 3}};
       },
       {"0 0:4! 1:4! =98", "2000 0. 1. =96", "4000 0. 1. =96"}},
      {"two batches alternate when the budget split them",
       [](Situation& s) {
         s.times = true;
         s.limits.pipeline_stages = 2;
         s.limits.max_num_batched_tokens = 4;
         s.requests = {{0, 4, 2}, {0, 4, 2}};
       },
       {"0 0:4! =99", "0 1:4! =98", "2000 0. =97", "3000 1. =96"}},
      {"a victim whose token is in flight is not admitted before it is out (4000: no, 5000: yes)",
       [](Situation& s) {
         s.times = true;
         s.limits.pipeline_stages = 3;
         s.limits.max_num_batched_tokens = 4;
         s.blocks = 3;
         s.requests = {{0, 4, 2}, {0, 8, 2}};
       },
       {"0 0:4! =2", "0 1:4 =1", "0 1:4! =0", "3000 ^1 0. =1", "5000 1:4 =0", "5000 ^1 =1",
        "6000 1:4 =2", "6000 1:4 =1", "8000 1:1! =0"}},
  });
}
