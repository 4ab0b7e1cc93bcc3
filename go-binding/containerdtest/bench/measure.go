package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func nameOf(i int) string { return fmt.Sprintf("containerd-pool-snap-%06d", i) }

// bench measures one of the two stores with a number of devices in it.
type bench struct {
	kind    kind
	base    string // the store as it is before each measurement of add
	path    string // the one that is measured
	devices int
	budget  time.Duration
	cpu     bool // count the processor's time
	store   store
	// names has the names of all devices, in a scattered order.
	names []string
	// added is how many devices were added to those, and freed how many of them were removed.
	added, freed atomic.Int64
}

func newBench(k kind, base string, devices int, c *config) (*bench, error) {
	b := &bench{kind: k, base: base, path: base + ".copy", devices: devices, budget: c.budget,
		cpu: c.cpu}
	const stride = 7919 // a prime, and none of the sizes is a multiple of it
	for i := range devices {
		b.names = append(b.names, nameOf(i*stride%devices))
	}
	return b, b.restore()
}

// restore makes the store again, without the devices that were added and the ids that were freed.
func (b *bench) restore() error {
	if b.store != nil {
		if err := b.store.Close(); err != nil {
			return err
		}
	}
	if err := copyFile(b.base, b.path); err != nil {
		return err
	}
	b.added.Store(0)
	b.freed.Store(0)
	return b.open()
}

func (b *bench) open() (err error) {
	b.store, err = b.kind.open(b.path)
	return err
}

// copyFile makes a copy and fsyncs it, since otherwise the first operation would pay for that.
func copyFile(from, to string) error {
	bytes, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = file.Write(bytes)
	return errors.Join(err, file.Sync(), file.Close())
}

func added(i int) string { return fmt.Sprintf("new-%09d", i) }

// operation is an operation to measure. All but walks and open run in several goroutines at once.
type operation struct {
	name string
	// perDevice is whether the time is counted for each device in the store.
	perDevice bool
	// alone is whether it is measured with one goroutine only.
	alone bool
	// fresh is whether the store is made again before.
	fresh bool
	// chunk is how often it runs between two readings of the clock, whose cost would count for
	// short operations; 0 is 1.
	chunk int64
	// limit is how often it can run; nil if there is no limit.
	limit func(b *bench) int64
	// run runs it for the i-th time.
	run func(b *bench, i int) error
}

func add(b *bench, _ int) error { return b.store.add(added(int(b.added.Add(1)))) }

func remove(b *bench, _ int) error {
	b.freed.Add(1)
	return b.store.remove(added(int(b.added.Add(-1) + 1)))
}

// In this order, so that fresh operations, and those after them until devices are added, run with
// the number of devices of their row.
var operations = []operation{
	{name: "get", fresh: true, chunk: 64,
		run: func(b *bench, i int) error {
			return b.store.get(b.names[i%b.devices])
		}},
	{name: "update", run: func(b *bench, i int) error { return b.store.update(b.names[i%b.devices]) }},
	{name: "walk", perDevice: true, alone: true,
		run: func(b *bench, _ int) error { return b.store.walk() }},
	{name: "iterate", perDevice: true, alone: true,
		run: func(b *bench, _ int) error { return b.store.iterate() }},
	{name: "names", perDevice: true, alone: true,
		run: func(b *bench, _ int) error { return b.store.names() }},
	{name: "open", alone: true, run: func(b *bench, _ int) error {
		if err := b.store.Close(); err != nil {
			return err
		}
		return b.open()
	}},
	{name: "add", fresh: true, run: add},
	// remove removes what add has added, and re-add uses the ids that remove has freed.
	{name: "remove", limit: func(b *bench) int64 { return b.added.Load() }, run: remove},
	{name: "re-add", limit: func(b *bench) int64 { return b.freed.Load() }, run: add},
}

// measure runs an operation in goroutines until the time is over, on a new store if it is to be
// fresh. It returns the wall time in nanoseconds per operation, so that concurrent operations count
// once.
func (b *bench) measure(op operation, goroutines int, fresh bool) (float64, error) {
	var (
		next, times atomic.Int64
		failed      atomic.Pointer[error]
		group       sync.WaitGroup
		limit       = int64(math.MaxInt64)
		chunk       = max(op.chunk, 1)
	)
	if fresh {
		if err := b.restore(); err != nil {
			return 0, err
		}
	}
	if op.limit != nil {
		if limit = op.limit(b); limit == 0 {
			return 0, fmt.Errorf("%s needs the operations before it", op.name)
		}
	}
	runtime.GC() // what the other store has left
	clock := time.Now
	if b.cpu {
		clock = processorTime
	}
	end, start := time.Now().Add(b.budget), clock()
	for range goroutines {
		group.Go(func() {
			for {
				last := next.Add(chunk)
				if last > limit || (last > chunk && time.Now().After(end)) {
					return
				}
				for i := last - chunk; i < last; i++ {
					if err := op.run(b, int(i)); err != nil {
						failed.Store(&err)
						return
					}
				}
				times.Add(chunk)
			}
		})
	}
	group.Wait()
	took := clock().Sub(start)
	if err := failed.Load(); err != nil {
		return 0, fmt.Errorf("%s of %s with %d devices: %w", op.name, b.kind.name, b.devices, *err)
	}
	each := float64(took.Nanoseconds()) / float64(times.Load())
	if op.perDevice {
		each /= float64(b.devices)
	}
	return each, nil
}

// processorTime is the processor time of this process so far, as a time since 1970.
func processorTime() time.Time {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it has no way to fail
	}
	return time.Unix(0, usage.Utime.Nano()+usage.Stime.Nano())
}

// typical returns the lower quartile: on a busy machine the times above the median show the
// machine's load.
func typical(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/4]
}
