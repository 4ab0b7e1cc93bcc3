#!/bin/sh
# Whether the tests reach everything that the header declares: coverage.sh functions|codes, after a
# run of all programs.
set -eu
cd "$(dirname "$0")"
missing=0

miss() {
    echo "  $*"
    missing=1
}

# Every function is used by some test program that is linked to the library.
functions() {
    nm -u "$OUT"/gcc-so/test_* 2>/dev/null |
        sed -n 's/.* U \(pm_[a-z_]*\).*/\1/p' | sort -u >"$OUT/functions.used"
    declared=$(grep -o '^[a-z].*[ *]pm_[a-z_]*(' "$HEADER" | sed -n 's/.*[ *]\(pm_[a-z_]*\)($/\1/p')
    for function in $declared; do
        # Inline functions of the header are not the library's.
        case $function in pm_record_*) continue ;; esac
        grep -qx "$function" "$OUT/functions.used" || miss "no test calls $function"
    done
    [ -s "$OUT/functions.used" ] || miss 'no function is used at all'
}

# Every code is in codes.txt, with the test that has provoked it in this run.
codes() {
    sed -n 's/^#define \(PM_ERR_[A-Z_]*\) [0-9]*$/\1/p' "$HEADER" >"$OUT/codes.declared"
    [ -s "$OUT/codes.declared" ] || miss 'the header declares no codes'
    while read -r code; do
        line=$(grep "^$code " codes.txt) || {
            miss "$code is not in codes.txt"
            continue
        }
        case $line in
            "$code - "?*)
                ! grep -q "^$code " "$PM_TEST_CODES" ||
                    miss "$code is provoked, which codes.txt says it is not"
                ;;
            *) grep -qxF "$line" "$PM_TEST_CODES" || miss "the run does not show: $line" ;;
        esac
    done <"$OUT/codes.declared"
    sed '/^#/d; s/ .*//' codes.txt | while read -r code; do
        grep -qx "$code" "$OUT/codes.declared" || echo "$code"
    done >"$OUT/codes.unknown"
    [ ! -s "$OUT/codes.unknown" ] ||
        miss "codes.txt has codes that are not in the header: $(cat "$OUT/codes.unknown")"
}

"$1"
[ "$missing" = 0 ]
