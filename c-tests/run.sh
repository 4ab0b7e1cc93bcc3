#!/bin/sh
# Builds and runs the C tests: run.sh test|valgrind|sanitize. The Makefile sets what is used here.
#
# Every program prints "plan NAME COUNT", then "ok ..." for each test that passed. A planned test
# that did not pass has failed, so a program that dies or ends early cannot count as passed.
set -eu
cd "$(dirname "$0")"
mode=$1
# Sanitizers as old as those of gcc 12 and clang 14 sometimes end a program at its start if the
# kernel randomizes more bits of addresses than they expect (vm.mmap_rnd_bits above 28). So address
# randomization is turned off, if that is allowed.
if [ "$mode" = sanitize ] && [ -z "${PM_FIXED_ADDRESSES:-}" ] && setarch -R true 2>/dev/null; then
    PM_FIXED_ADDRESSES=1 exec setarch -R ./run.sh sanitize
fi
passed=0
failed=0
mkdir -p "$OUT"
export PM_TEST_CRAFT="$CRAFT"
# Links the library that was built. With the new tags, one of LD_LIBRARY_PATH would come before it.
LINK="$SO -Wl,--disable-new-dtags,-rpath,$(dirname "$SO")"

# compile VARIANT COMPILER C++-COMPILER LIBRARY FLAGS...
compile() {
    variant=$1 cc=$2 cxx=$3 library=$4
    shift 4
    dir=$OUT/$variant
    # Programs of earlier tests would count as users of the library's functions.
    rm -rf "$dir"
    mkdir -p "$dir"
    if [ "$library" = so ]; then
        link=$LINK
    else
        link="$A $LIBS_OF_A"
    fi
    objects=
    for source in $HARNESS; do
        object=$dir/${source%.c}.o
        objects="$objects $object"
        # shellcheck disable=SC2086  # lists of options, split on purpose, here and below
        "$cc" -std=c99 -g -O1 $C_WARNINGS $CPPFLAGS_ALL "$@" -c "$source" -o "$object"
    done
    for program in $ONLY; do
        case $program in
            test_ctypes | test_cffi | test_luajit) ;;
            test_cpp)
                # shellcheck disable=SC2086
                "$cxx" -std=c++17 -g -O1 $WARNINGS $CPPFLAGS_ALL "$@" test_cpp.cpp $objects \
                    -o "$dir/test_cpp" $link -lpthread -ldl
                ;;
            test_dlopen)
                # Not linked to the library: that is its point.
                # shellcheck disable=SC2086
                "$cc" -std=c99 -g -O1 $C_WARNINGS $CPPFLAGS_ALL "$@" test_dlopen.c \
                    -o "$dir/test_dlopen" -ldl -lpthread
                ;;
            *)
                # shellcheck disable=SC2086
                "$cc" -std=c99 -g -O1 $C_WARNINGS $CPPFLAGS_ALL "$@" "$program.c" $objects \
                    -o "$dir/$program" $link -lpthread -ldl
                ;;
        esac
    done
}

# report LOG STATUS NAME: shows the lines of one program's run and counts them.
report() {
    grep -v '^plan ' "$1" || true
    planned=$(sed -n 's/^plan [^ ]* //p' "$1")
    good=$(grep -c '^ok ' "$1" || true)
    [ -n "${TEST:-}" ] && planned=$good && [ "$good" = 0 ] && [ "$2" = 0 ] && return 0
    # A program that printed no plan counts as failed.
    bad=$((${planned:-$((good + 1))} - good))
    if [ "$2" != 0 ] && [ "$bad" -le 0 ]; then bad=1; fi
    # memcheck's reports on child processes show in no exit status.
    if grep -q '^==[0-9]*== ' "$1" && [ "$bad" -le 0 ]; then bad=1; fi
    [ "$bad" = 0 ] ||
        printf 'FAILED %s ended with status %s, %s tests not passed\n' "$3" "$2" "$bad"
    passed=$((passed + good))
    failed=$((failed + bad))
}

# run VARIANT COMMAND...: runs every program of the variant under the command.
run() {
    variant=$1
    shift
    for program in $ONLY; do
        case " $FOREIGN " in *" $program "*) continue ;; esac
        log=$OUT/$variant/$program.log
        status=0
        # shellcheck disable=SC2086
        PM_LIBRARY=$SO "$@" "$OUT/$variant/$program" ${TEST:-} >"$log" 2>&1 || status=$?
        sed -i "s/^ok /ok $variant: /" "$log"
        report "$log" "$status" "$variant/$program"
    done
}

# client NAME COMMAND...: runs a client in another language.
client() {
    name=$1
    shift
    case " $ONLY " in *" $name "*) ;; *) return 0 ;; esac
    status=0
    PM_LIBRARY=$SO PM_EXPECTED_HEADER=$HEADER "$@" >"$OUT/$name.log" 2>&1 || status=$?
    report "$OUT/$name.log" "$status" "$name"
}

# The first Python that has cffi: Debian's package of it is for Debian's Python.
with_cffi() {
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import cffi' 2>/dev/null; then break; fi
    done
    "$python" "$@"
}

clients() {
    client test_ctypes python3 test_ctypes.py
    client test_cffi with_cffi test_cffi.py
    client test_luajit luajit test_luajit.lua
}

# check NAME COMMAND...: one more test, which is a command.
check() {
    name=$1
    shift
    if "$@"; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAILED $name"
        failed=$((failed + 1))
    fi
}

run_test() {
    export PM_TEST_CODES="$OUT/codes.seen"
    : >"$PM_TEST_CODES"
    for compiler in gcc clang; do
        cxx=$(echo $compiler | sed 's/gcc/g++/; s/clang/clang++/')
        for library in so a; do
            compile "$compiler-$library" "$compiler" "$cxx" "$library"
            # Some tests are thorough once and quick the other times.
            if [ "$compiler-$library" = gcc-so ]; then
                run gcc-so env PM_TEST_EVERY_CALL=1
            else
                run "$compiler-$library"
            fi
        done
    done
    clients
    if [ -z "${TEST:-}" ] && [ "$ONLY" = "$EVERY" ]; then
        check 'coverage: every function is called' ./coverage.sh functions
        check 'coverage: every status code is provoked, or it is said why not' ./coverage.sh codes
    fi
}

# memcheck and the sanitizers bring an allocator of their own, so memory.c is left out.
other_malloc() {
    HARNESS=$(echo "$HARNESS" | sed 's/ memory.c//')
    CPPFLAGS_ALL="$CPPFLAGS_ALL -DPM_TEST_OTHER_MALLOC"
}

# memcheck KINDS: every program in ONLY, which may lose no memory in one of these ways.
memcheck() {
    run valgrind valgrind --quiet --vgdb=no --fair-sched=try \
        --trace-children=yes --trace-children-skip='*/craft_store,*/true' \
        --error-exitcode=99 --leak-check=full --show-leak-kinds="$1" --errors-for-leak-kinds="$1"
}

# Memory that is "possibly lost" would make a user's valgrind fail as well. It is checked in
# programs that end without threads: the system itself leaves such memory for threads that still
# run.
run_valgrind() {
    export PM_TEST_SLOW=1
    other_malloc
    compile valgrind gcc g++ so
    alone='' others=''
    for program in $ONLY; do
        case $program in
            test_changes | test_check | test_device | test_import | test_stats | test_update)
                alone="$alone $program"
                ;;
            *) others="$others $program" ;;
        esac
    done
    ONLY=$alone
    memcheck definite,indirect,possible
    ONLY=$others
    memcheck definite,indirect
}

run_sanitize() {
    export PM_TEST_SLOW=1
    other_malloc
    for compiler in gcc clang; do
        cxx=$(echo $compiler | sed 's/gcc/g++/; s/clang/clang++/')
        # shellcheck disable=SC2086
        compile "sanitize-$compiler" "$compiler" "$cxx" so $SANITIZERS
        # shellcheck disable=SC2086
        "$compiler" -std=c99 -g -O0 $CPPFLAGS_ALL $SANITIZERS sanitizer_proof.c \
            -o "$OUT/sanitize-$compiler/proof" $LINK -lpthread
        for what in use-after-free overflow leak; do
            check "sanitize-$compiler: the sanitizers catch: $what" ./sanitizer_proof.sh \
                "$OUT/sanitize-$compiler/proof" $what
        done
        run "sanitize-$compiler" env ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    done
    case " $ONLY " in
        *' test_threads '*)
            race_free gcc g++
            race_free clang clang++
            ;;
    esac
}

# The threads' test under ThreadSanitizer: the C side only, since it does not see the locks of a
# library that is built without it. faults.c and strikes.c are left out: it interposes the same
# functions.
race_free() {
    variant=threads-$1
    every_part=$HARNESS every_program=$ONLY
    HARNESS=$(echo "$HARNESS" | sed 's/faults.c strikes.c//') ONLY=test_threads
    compile "$variant" "$1" "$2" so -fsanitize=thread
    # shellcheck disable=SC2086
    "$1" -std=c99 -g -O1 $CPPFLAGS_ALL -fsanitize=thread sanitizer_proof.c \
        -o "$OUT/$variant/proof" $LINK -lpthread
    check "$variant: the sanitizer catches: race" ./sanitizer_proof.sh "$OUT/$variant/proof" race
    run "$variant" env TSAN_OPTIONS=ignore_noninstrumented_modules=1
    HARNESS=$every_part ONLY=$every_program
}

"run_$mode"
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
