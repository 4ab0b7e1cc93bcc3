#!/bin/sh
# sanitizer_proof.sh PROGRAM MISTAKE: succeeds if the sanitizers let the sound program pass and
# catch the mistake.
set -eu
case $2 in
    use-after-free) words=heap-use-after-free ;;
    overflow) words='signed integer overflow' ;;
    leak) words='detected memory leaks' ;;
    race) words='data race' ;;
    *) exit 2 ;;
esac
export ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1
"$1" nothing >/dev/null 2>&1 || {
    echo "  the sound program did not pass"
    exit 1
}
if output=$("$1" "$2" 2>&1); then
    echo "  $2 was not caught"
    exit 1
fi
printf '%s\n' "$output" | grep -q "$words"
