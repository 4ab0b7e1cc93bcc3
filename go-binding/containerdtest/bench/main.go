// Command bench compares this store with containerd's own, in one run on one machine, and prints
// the ratios beside their targets.
//
//	go run ./bench [-quick] [-ops get,walk] [-time 30ms] [-rounds 9] [-cpu]
//	           [-disk DIRECTORY] [-tmpfs DIRECTORY]
//	go run ./bench -writers PROGRAM [-quick] [-at 1,2,8,64,256] [-disk DIRECTORY]
//
// The two stores take turns within each round, and take turns at going first. The lower quartile of
// the rounds counts: other load on the machine affects both stores, and its worst moments are left
// out. The garbage collector has its default settings, and its cost is included.
//
// With -writers it measures the throughput of many writers on a disk, against containerd's store
// and raw LMDB, for which it starts PROGRAM: benches/programs/writers.rs, built.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// target is the ratio to reach.
type target struct {
	op      string
	place   string // "" for both
	devices int    // 0 for all
	atLeast float64
}

var targets = []target{
	{op: "get", atLeast: 8},
	{op: "walk", atLeast: 30},
	{op: "iterate", atLeast: 30},
	{op: "add", place: "tmpfs", devices: 10_000, atLeast: 15},
	{op: "update", place: "tmpfs", atLeast: 3.5},
}

func targetOf(op, place string, devices int) float64 {
	for _, t := range targets {
		if t.op == op && (t.place == "" || t.place == place) && (t.devices == 0 || t.devices == devices) {
			return t.atLeast
		}
	}
	return 0
}

type config struct {
	ops        []string // nil for all
	sizes      []int
	goroutines []int
	budget     time.Duration
	cpu        bool
	rounds     int
	met, all   int
}

func main() {
	ops := flag.String("ops", "", "only these operations, with commas between them, such as get,walk")
	quick := flag.Bool("quick", false, "without 100,000 devices, and three rounds")
	budget := flag.Duration("time", 0,
		"how long each measurement takes (default 30ms; with -cpu, 150ms)")
	rounds := flag.Int("rounds", 9, "how many rounds")
	cpu := flag.Bool("cpu", false, "count processor time, for a busy machine; "+
		"leaves out the disk, whose time is not counted")
	disk := flag.String("disk", ".", "a directory on a disk")
	tmpfs := flag.String("tmpfs", "/dev/shm", "a directory on a tmpfs")
	program := flag.String("writers", "",
		"measure many writers on the disk; the program of benches/programs/writers.rs, built")
	at := flag.String("at", "1,2,8,64,256", "with -writers: how many of them")
	flag.Parse()
	if *program != "" {
		measureWriters(*program, *disk, *at, *quick)
		return
	}
	if *budget == 0 {
		*budget = 30 * time.Millisecond
		if *cpu {
			*budget *= 5 // of which the process gets a part
		}
	}
	c := config{sizes: []int{1000, 10_000, 100_000}, goroutines: []int{1, 8, 64}, budget: *budget,
		cpu: *cpu, rounds: max(*rounds, 1)}
	if *ops != "" {
		c.ops = strings.Split(*ops, ",")
	}
	for _, op := range c.ops {
		if !slices.ContainsFunc(operations, func(known operation) bool { return known.name == op }) {
			fmt.Fprintf(os.Stderr, "bench: there is no operation %q\n", op)
			os.Exit(2)
		}
	}
	if *quick {
		c.sizes, c.rounds = c.sizes[:2], min(c.rounds, 3)
	}
	clock := "the clock"
	if *cpu {
		clock = "the processor"
	}
	fmt.Printf("Lower quartile of %d rounds of %v, by %s. Times are of one operation; of walk and "+
		"names, of one device.\n",
		c.rounds, c.budget, clock)
	err := c.places(map[string]string{"tmpfs": *tmpfs, "disk": *disk})
	if err == nil {
		err = c.allocations(*tmpfs)
	}
	exit(err)
	fmt.Printf("\n%d of %d targets are met. open verifies every row of ours, and nothing of theirs.\n",
		c.met, c.all)
}

// measureWriters measures many writers on a disk, in the numbers that `at` lists.
func measureWriters(program, disk, at string, quick bool) {
	m := &writers{disk: disk, program: program, slot: 500 * time.Millisecond, rounds: 9,
		pairs: 1000, single: listDevices}
	for word := range strings.SplitSeq(at, ",") {
		count, err := strconv.Atoi(word)
		exit(err)
		m.counts = append(m.counts, max(count, 1))
	}
	if quick {
		m.slot, m.rounds, m.pairs, m.single = 300*time.Millisecond, 3, 200, 1000
	}
	exit(m.run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (c *config) places(directories map[string]string) error {
	for _, place := range []string{"tmpfs", "disk"} {
		if c.cpu && place == "disk" {
			continue
		}
		for _, devices := range c.sizes {
			dir, err := os.MkdirTemp(directories[place], "pool-metadata-bench-")
			if err != nil {
				return err
			}
			err = c.size(place, dir, devices)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// size measures everything with one number of devices in one directory.
func (c *config) size(place, dir string, devices int) error {
	from, err := full(dir, devices)
	if err != nil {
		return err
	}
	defer from.Close()
	var benches [2]*bench
	for i, kind := range kinds {
		base := filepath.Join(dir, kind.name)
		if err := kind.make(from, base); err != nil {
			return err
		}
		if benches[i], err = newBench(kind, base, devices, c); err != nil {
			return err
		}
		defer func() { benches[i].store.Close() }()
	}
	fmt.Printf("\n%-7s %9s %6s  %12s %12s %9s %9s\n", place, "devices", "at a", kinds[0].name,
		kinds[1].name, "ratio", "target")
	fmt.Printf("%-7s %9s %6s\n%s\n", "", "", "time", strings.Repeat("-", 72))
	for _, goroutines := range c.goroutines {
		times, err := c.rows(benches, goroutines)
		if err != nil {
			return err
		}
		for i, op := range operations {
			if times[0][i] != nil {
				c.print(op.name, place, devices, goroutines, typical(times[0][i]), typical(times[1][i]))
			}
		}
	}
	return nil
}

// rows measures all operations with one number of goroutines, in rounds.
func (c *config) rows(benches [2]*bench, goroutines int) (times [2][][]float64, err error) {
	for which := range times {
		times[which] = make([][]float64, len(operations))
	}
	for round := range c.rounds {
		first := true
		for i, op := range operations {
			if op.alone && goroutines > 1 || !c.wanted(op.name) {
				continue
			}
			for turn := range benches {
				which := (turn + round) % len(benches)
				t, err := benches[which].measure(op, goroutines, op.fresh || first)
				if err != nil {
					return times, err
				}
				times[which][i] = append(times[which][i], t)
			}
			first = false
		}
	}
	return times, nil
}

// wanted reports whether an operation was asked for.
func (c *config) wanted(op string) bool { return c.ops == nil || slices.Contains(c.ops, op) }

func (c *config) print(op, place string, devices, goroutines int, ours, theirs float64) {
	ratio, wanted := theirs/ours, ""
	if least := targetOf(op, place, devices); least > 0 {
		c.all++
		wanted = fmt.Sprintf(">= %g", least)
		if ratio >= least {
			c.met++
		} else {
			wanted += "  missed"
		}
	}
	fmt.Printf("%-7s %9d %6d  %12s %12s %8.1fx  %s\n", op, devices, goroutines, duration(ours),
		duration(theirs), ratio, wanted)
}

func duration(nanoseconds float64) string {
	switch {
	case nanoseconds < 1e3:
		return fmt.Sprintf("%.0f ns", nanoseconds)
	case nanoseconds < 1e6:
		return fmt.Sprintf("%.2f us", nanoseconds/1e3)
	}
	return fmt.Sprintf("%.2f ms", nanoseconds/1e6)
}

// allocations counts those of a get and of a walk.
func (c *config) allocations(tmpfs string) error {
	dir, err := os.MkdirTemp(tmpfs, "pool-metadata-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const devices = 10_000
	store, err := full(dir, devices)
	if err != nil {
		return err
	}
	defer store.Close()
	name := nameOf(77)
	get := testing.AllocsPerRun(1000, func() { _, err = store.GetDevice(ctx, name) })
	if err != nil {
		return err
	}
	walk := testing.AllocsPerRun(20, func() {
		err = store.WalkDevices(ctx, func(*poolmetadata.DeviceInfo) error { return nil })
	}) / devices
	if err != nil {
		return err
	}
	fmt.Println("\nAllocations")
	for _, row := range []struct {
		what        string
		count, most float64
	}{{"of a get", get, 2}, {"of a walk of 10,000, for each device", walk, 0.01}} {
		c.all++
		verdict := "missed"
		if row.count <= row.most {
			c.met++
			verdict = ""
		}
		fmt.Printf("%-38s %8.4f   target <= %g  %s\n", row.what, row.count, row.most, verdict)
	}
	return nil
}
