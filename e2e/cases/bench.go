package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bench measures the cycle of a snapshotter's life: prepare, commit, prepare a child, commit, view,
// and three removals. It prints a line for each step and one for the whole, with the flushes of a
// block device and the milliseconds that it took, on average.
func bench(ctx context.Context, d *daemon, cycles int, device string) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	l := &life{daemon: d, kept: map[string]string{}}
	// The first one makes the files grow.
	if err := l.cycle(ctx, "warm", func(string) error { return nil }); err != nil {
		return err
	}
	costs := costs{device: device}
	for n := range cycles {
		// What the last cycle's step began to look at is over.
		if err := costs.begin(); err != nil {
			return err
		}
		if err := l.cycle(ctx, strconv.Itoa(n), costs.end); err != nil {
			return err
		}
	}
	costs.print(cycles)
	return d.stop()
}

// costs are the flushes of a block device and the time that the steps of a cycle take.
type costs struct {
	device string
	steps  []cost
	seen   int64
	since  time.Time
}

type cost struct {
	step    string
	flushes int64
	took    time.Duration
}

// begin begins the first step of a cycle.
func (c *costs) begin() (err error) {
	c.seen, err = flushes(c.device)
	c.since = time.Now()
	return err
}

// end ends a step, and begins the next one.
func (c *costs) end(step string) error {
	seen, since := c.seen, c.since
	if err := c.begin(); err != nil {
		return err
	}
	at := slices.IndexFunc(c.steps, func(c cost) bool { return c.step == step })
	if at < 0 {
		at = len(c.steps)
		c.steps = append(c.steps, cost{step: step})
	}
	c.steps[at].flushes += c.seen - seen
	c.steps[at].took += c.since.Sub(since)
	return nil
}

func (c *costs) print(cycles int) {
	whole := cost{step: "cycle"}
	for _, step := range c.steps {
		whole.flushes += step.flushes
		whole.took += step.took
	}
	for _, step := range append(c.steps, whole) {
		fmt.Printf("%s: %.1f flushes, %.0f ms\n", step.step,
			float64(step.flushes)/float64(cycles), step.took.Seconds()*1e3/float64(cycles))
	}
}

// cycle does the operations once, and waits until the devices are gone. It calls done after each
// step.
func (l *life) cycle(ctx context.Context, name string, done func(step string) error) error {
	s := l.snapshotter()
	base, child, view := "base-"+name, "child-"+name, "view-"+name
	prepare := func(key, parent string) func() error {
		return func() error { _, err := s.Prepare(ctx, key, parent, rooted); return err }
	}
	commit := func(key string) func() error {
		return func() error { return s.Commit(ctx, key, key+"-work", rooted) }
	}
	remove := func(key string) func() error {
		return func() error { return s.Remove(ctx, key) }
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"prepare", prepare(base+"-work", "")},
		{"commit", commit(base)},
		{"prepare a child", prepare(child+"-work", base)},
		{"commit the child", commit(child)},
		{"view", func() error { _, err := s.View(ctx, view, child, rooted); return err }},
		{"remove the view", remove(view)},
		{"remove the child", remove(child)},
		{"remove", remove(base)},
		{"collect", func() error { return l.collect(ctx) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := done(step.name); err != nil {
			return err
		}
	}
	return nil
}

// flushes returns how many flushes a block device has completed.
func flushes(device string) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", device, "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	const at = 15 // since Linux 5.5
	if len(fields) <= at {
		return 0, fmt.Errorf("the statistics of %s have no flushes: %s", device, text)
	}
	return strconv.ParseInt(fields[at], 10, 64)
}
