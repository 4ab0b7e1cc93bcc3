// The command powerloss runs in the guest: it works on a store while the block device below its
// file system records, fails or drops writes, and checks what a loss of power leaves.
//
//	powerloss -fs ext4 -test replay [-steps 40] [-every 1] [-seed 1] [-relaxed]
//	powerloss -fs xfs -test error_writes|drop_writes
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	fs := flag.String("fs", "ext4", "the file `system`: ext4, xfs or btrfs")
	test := flag.String("test", "replay", "replay, error_writes or drop_writes")
	steps := flag.Int("steps", 40, "how many operations to do")
	every := flag.Int("every", 1, "cut the power at one of so many flushes")
	seed := flag.Uint64("seed", 1, "the seed of the operations")
	relaxed := flag.Bool("relaxed", false, "without fsync, so that the test has to fail")
	flag.Parse()
	if err := run(*fs, *test, *steps, *every, *seed, *relaxed); err != nil {
		fmt.Printf("failed %s %s: %v\n", *fs, *test, err)
		os.Exit(1)
	}
}

func run(fs, test string, steps, every int, seed uint64, relaxed bool) error {
	if _, known := sizes[fs]; !known || steps < 1 || every < 1 {
		return fmt.Errorf("wrong arguments: -fs %s -steps %d -every %d", fs, steps, every)
	}
	dir, err := os.MkdirTemp("", "powerloss-")
	if err != nil {
		return err
	}
	w := newWork(seed)
	switch test {
	case "replay":
		r := &replayer{fs: fs, dir: dir, work: w, steps: steps, every: every, relaxed: relaxed}
		if err := r.record(); err != nil {
			return fmt.Errorf("the recording: %w", err)
		}
		points, err := r.replay()
		if err != nil {
			return err
		}
		if err := r.close(); err != nil {
			return err
		}
		fmt.Printf("ok %s replay: %d power cuts in %d operations\n", fs, points, steps)
	case "error_writes", "drop_writes":
		if err := flakey(fs, dir, w, steps, test); err != nil {
			return err
		}
		fmt.Printf("ok %s %s: %d operations\n", fs, test, steps)
	default:
		return fmt.Errorf("no test is named %q", test)
	}
	return nil
}
