package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The targets of durable writes, all on a disk.
const (
	eightAtLeast = 5   // ratio of operations per second
	tailAtMost   = 12  // the 99th percentile with 64 writers, in lone writes
	batchAtLeast = 100 // changes one by one against one list of them
)

var (
	loneAtLeast = map[string]float64{"add": 2, "update": 1.7} // ratio of a lone write
	manyAtLeast = map[string]float64{"add": 70, "update": 35} // of writes per second, 64 writers
)

// writers measures durable writes: those of a lone writer, of many, and lists of changes.
type writers struct {
	disk, program string
	counts        []int         // how many writers
	slot          time.Duration // how long each subject writes in each round
	rounds        int
	pairs         int
	single        int // changes one by one
	met, all      int
}

const writersDevices = 1000

// subject is one of the stores to compare.
type subject interface {
	// fresh makes its store again.
	fresh() error
	// write runs an operation in that many writers until the time is over.
	write(op operation, writers int, long time.Duration) (writes, error)
	close() error
}

// writes is a result: how long it took, and how long each write took, in nanoseconds.
type writes struct {
	took  time.Duration
	times []int64
}

func (w *writes) add(other writes) {
	w.took += other.took
	w.times = append(w.times, other.times...)
}

func (w *writes) perSecond() float64 { return float64(len(w.times)) / w.took.Seconds() }

// percentile is in nanoseconds; the times are sorted.
func (w *writes) percentile(p int) float64 { return float64(w.times[(len(w.times)-1)*p/100]) }

// inProcess is one of the two stores, in this process.
type inProcess struct{ *bench }

func (s inProcess) fresh() error { return s.restore() }
func (s inProcess) close() error { return s.store.Close() }

func (s inProcess) write(op operation, writers int, long time.Duration) (writes, error) {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		group  sync.WaitGroup
		all    = make([][]int64, writers)
		start  = time.Now()
	)
	for i := range all {
		group.Go(func() {
			for len(all[i]) == 0 || time.Since(start) < long {
				before := time.Now()
				if err := op.run(s.bench, int(next.Add(1))); err != nil {
					failed.Store(&err)
					return
				}
				all[i] = append(all[i], time.Since(before).Nanoseconds())
			}
		})
	}
	group.Wait()
	w := writes{took: time.Since(start), times: slices.Concat(all...)}
	if err := failed.Load(); err != nil {
		return w, fmt.Errorf("%s of %s: %w", op.name, s.kind.name, *err)
	}
	return w, nil
}

func (m *writers) run() error {
	dir, err := os.MkdirTemp(m.disk, "pool-metadata-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	subjects, closeAll, err := m.subjects(dir)
	defer closeAll()
	if err != nil {
		return err
	}
	fmt.Printf("Durable writes to stores of %d devices, in %s; "+
		"%d rounds in which each writes for %v.\n",
		writersDevices, m.disk, m.rounds, m.slot)
	for _, op := range operations {
		if op.name == "add" || op.name == "update" {
			if err := m.lone(op, subjects); err != nil {
				return err
			}
			if err := m.many(op, subjects); err != nil {
				return err
			}
		}
	}
	if err := m.lists(subjects[0].(inProcess)); err != nil {
		return err
	}
	fmt.Printf("\n%d of %d targets are met.\n", m.met, m.all)
	return nil
}

// subjects are this store and containerd's, called from goroutines, and raw LMDB and this store,
// called from a program's threads: in the order of the columns.
func (m *writers) subjects(dir string) (subjects []subject, closeAll func(), err error) {
	closeAll = func() {
		for _, s := range subjects {
			_ = s.close()
		}
	}
	from, err := full(dir, writersDevices)
	if err != nil {
		return nil, closeAll, err
	}
	defer from.Close()
	for _, kind := range kinds {
		base := filepath.Join(dir, kind.name)
		if err := kind.make(from, base); err != nil {
			return subjects, closeAll, err
		}
		b, err := newBench(kind, base, writersDevices, &config{})
		if err != nil {
			return subjects, closeAll, err
		}
		subjects = append(subjects, inProcess{b})
	}
	for _, kind := range []string{"raw", "store"} {
		t, err := startThreads(m.program, kind, filepath.Join(dir, kinds[0].name))
		if err != nil {
			return subjects, closeAll, err
		}
		subjects = append(subjects, t)
	}
	return subjects, closeAll, nil
}

// verdict counts a target that is met, or is not, and says which.
func (m *writers) verdict(value, bound float64, atLeast bool) string {
	m.all++
	met, sign := value <= bound, "<="
	if atLeast {
		met, sign = value >= bound, ">="
	}
	if met {
		m.met++
		return fmt.Sprintf("%s %g", sign, bound)
	}
	return fmt.Sprintf("%s %g  missed", sign, bound)
}

// lone measures one writer: the subjects take turns at single writes, and the ratios are medians
// over the turns.
func (m *writers) lone(op operation, subjects []subject) error {
	times := make([][]float64, len(subjects))
	for _, s := range subjects {
		if err := s.fresh(); err != nil {
			return err
		}
	}
	for turn := range m.pairs {
		for i := range subjects {
			which := (turn + i) % len(subjects) // none always comes after the same other
			w, err := subjects[which].write(op, 1, 0)
			if err != nil {
				return err
			}
			times[which] = append(times[which], float64(w.times[0]))
		}
	}
	target := ""
	toTheirs, toRaw := medianRatio(times[1], times[0]), medianRatio(times[2], times[0])
	if least := loneAtLeast[op.name]; least > 0 {
		target = m.verdict(toTheirs, least, true)
	}
	fmt.Printf("\nA lone %s, medians of %d in turn: ours %s, theirs %s (pairs: %.2fx  %s), raw LMDB "+
		"%s (pairs: %.2fx), ours from a thread %s\n",
		op.name, m.pairs, duration(median(times[0])), duration(median(times[1])), toTheirs, target,
		duration(median(times[2])), toRaw, duration(median(times[3])))
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func medianRatio(over, under []float64) float64 {
	ratios := make([]float64, len(over))
	for i := range over {
		ratios[i] = over[i] / under[i]
	}
	return median(ratios)
}

// many measures several writers at once, in rounds.
func (m *writers) many(op operation, subjects []subject) error {
	fmt.Printf("\n%-6s %7s", "", "")
	for _, column := range []string{"ours", "theirs", "raw LMDB", "ours, from threads"} {
		fmt.Printf("  %28s", column)
	}
	fmt.Printf("\n%-6s %7s", "", "writers")
	for range subjects {
		fmt.Printf("  %8s %9s %9s", "a second", "p50", "p99")
	}
	fmt.Printf("\n%s\n", strings.Repeat("-", 14+30*len(subjects)))
	lone := make([]float64, len(subjects))
	for _, count := range m.counts {
		all := make([]writes, len(subjects))
		for range m.rounds {
			for i, s := range subjects {
				if err := s.fresh(); err != nil {
					return err
				}
				w, err := s.write(op, count, m.slot)
				if err != nil {
					return err
				}
				all[i].add(w)
			}
		}
		fmt.Printf("%-6s %7d", op.name, count)
		for i := range all {
			slices.Sort(all[i].times)
			fmt.Printf("  %8.0f %9s %9s", all[i].perSecond(), duration(all[i].percentile(50)),
				duration(all[i].percentile(99)))
		}
		fmt.Println()
		m.toTheirs(op, count, "ours", &all[0], &all[1], &lone[0])
		m.toTheirs(op, count, "ours, from threads", &all[3], &all[1], &lone[3])
	}
	return nil
}

// toTheirs prints how that many writers compare with containerd's; lone is how long a lone writer
// takes for a write.
func (m *writers) toTheirs(op operation, count int, what string, ours, theirs *writes,
	lone *float64,
) {
	ratio, target := ours.perSecond()/theirs.perSecond(), ""
	switch count {
	case 1:
		*lone = ours.percentile(50)
	case 8:
		target = m.verdict(ratio, eightAtLeast, true)
	case 64:
		tail := ours.percentile(99) / *lone
		rate := m.verdict(ratio, manyAtLeast[op.name], true)
		target = fmt.Sprintf("%s; p99 %.1f lone writes  %s", rate, tail,
			m.verdict(tail, tailAtMost, false))
	}
	fmt.Printf("%14s  %-18s %5.1fx theirs  %s\n", "", what, ratio, target)
}
