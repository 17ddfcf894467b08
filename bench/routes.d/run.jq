# SPDX-License-Identifier: Apache-2.0
#
# What `godwit bench observe` saw of one run -> its line in runs.jsonl. The first serial is host a's.

(.observers[0]? // {}) as $seen
| ({a: 0, b: 1}[$from]) as $source
| ([$seen.silences[]? | select(.from == $source and .to == 1 - $source)] | max_by(.length_ms)) as $switch
| .command.wall_ms as $wall
| (.command.exit_code != 0 or $now_at != $to) as $failed
| ($switch == null or $switch.began_ms == null or $switch.began_ms > $wall) as $blind
| ($seen.silences[0]? // {}) as $longest
| (if $tool == "virsh-default" then 300 else $limit end) as $wanted
| ((.command.stdout // "") | fromjson? // null) as $said
| [if $failed then "f" else empty end,
   if $blind then "b" else empty end,
   if ($blind | not) and $switch != $longest then "e" else empty end,
   if ($seen.observer_late_ms // 0) > 0.2 * ($seen.longest_silence_ms // 0) then "l" else empty end,
   if $longest.open then "o" else empty end,
   if ($during // {downtime_limit_ms: ($said.downtime_ms.limit // $before.downtime_limit_ms)}
       | .downtime_limit_ms != $wanted) then "s" else empty end,
   if ($seen.duplicates // 0) > 0 then "2" else empty end] as $marks
| {$round, $place, $tool, label: (if $rtt == "" then $tool else "\($tool)@\($rtt)" end),
   rtt_ms: (if $rtt == "" then null else ($rtt | rtrimstr("ms") | tonumber) end),
   $guest, $from, $to, $now_at, $seed, load_1m: ($load | tonumber), marks: ($marks | join("")),
   silence_ms: $seen.longest_silence_ms, switch_ms: $switch.length_ms, total_ms: $wall,
   qemu_downtime_ms: $qemu, downtime_limit_ms: $wanted,
   settings: {before: $before, during: $during, said_limit_ms: $said.downtime_ms.limit},
   observed: (del(.schema))}
