# SPDX-License-Identifier: Apache-2.0
#
# apart.jsonl, slurped -> for each run what happened between the heartbeats, and all runs in one table.

def pad($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def fill($n): tostring | . + (" " * ([$n - length, 0] | max));
def fixed1: if . == null then "-" else
    (. * 10 | round) as $n | ($n | fabs | tostring | if length < 2 then "0" + . else . end) as $text
    | (if $n < 0 then "-" else "" end) + $text[:-1] + "." + $text[-1:] end;

# The marks of one run, in ms of the wall clock.
def moments:
    .run as $run | .events as $events
    | ([$run.observed.observers[0].silences[] | select(.length_ms == $run.switch_ms)][0]) as $switch
    | ($run.observed.command.began_epoch_ms + $switch.began_ms) as $last
    | def first_of($host; f): [$events[] | select(.host == $host) | select(f) | .t_ms] | sort | .[0];
      {last: $last, first: ($last + $switch.length_ms),
       stop: first_of($run.from; .event == "STOP" and .t_ms > $last - 1000),
       device: first_of($run.from; .event == "MIGRATION" and .status == "device"),
       source_done: first_of($run.from; .event == "MIGRATION" and .status == "completed"),
       done: first_of($run.to; .event == "MIGRATION" and .status == "completed"),
       resume: first_of($run.to; .event == "RESUME")};

def between($a; $b): if $a == null or $b == null then null else $b - $a end;

[.[] | select(.run.switch_ms != null)] as $seen
| ($seen[] | .run as $run | moments as $m
   | "\($run.label), \($run.from) to \($run.to): silent \($run.switch_ms | fixed1) ms; QEMU says \($run.qemu_downtime_ms) ms; marks: \($run.marks)",
     ([{t_ms: $m.last, host: $run.from, event: "last heartbeat"}, {t_ms: $m.first, host: $run.to, event: "first heartbeat"}]
      + [.events[] | select(.t_ms > $m.last - 20 and .t_ms < $m.first + 20
            and (.event | test("^(STOP|RESUME|MIGRATION|MIGRATION_PASS)$")))]
      | sort_by(.t_ms)[]
      | "  \(.t_ms - $m.last | fixed1 | pad(7))  \(.host)  \(.event)\(if .status then " " + .status else "" end)"), ""),
"Where the pause goes, ms:",
"                    last beat     STOP to  device to  completed    RESUME to         QEMU",
"                      to STOP      device  completed  to RESUME   first beat  sum  says",
($seen[] | .run as $run | moments as $m
 | ($run.label | fill(20)) + (between($m.last; $m.stop) | fixed1 | pad(9)) + (between($m.stop; $m.device) | fixed1 | pad(12))
   + (between($m.device; $m.done // $m.source_done) | fixed1 | pad(11))
   + (between($m.done // $m.source_done; $m.resume) | fixed1 | pad(11))
   + (between($m.resume; $m.first) | fixed1 | pad(13)) + ($run.switch_ms | fixed1 | pad(7))
   + ($run.qemu_downtime_ms // "-" | pad(5))),
"STOP and device are the source's, completed and RESUME the destination's (completed the source's",
"where the destination does not tell).",
(.[] | select(.run.switch_ms == null) | "\(.run.label): the switchover was not seen")
