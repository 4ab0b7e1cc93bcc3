package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bench measures the cycle of a snapshotter's life: prepare, commit, prepare a child, commit, view,
// and three removals. It prints a line with the flushes of a block device and the milliseconds that
// one cycle took, on average.
func bench(ctx context.Context, d *daemon, cycles int, device string) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	l := &life{daemon: d, kept: map[string]string{}}
	// The first one makes the files grow.
	if err := l.cycle(ctx, "warm"); err != nil {
		return err
	}
	before, err := flushes(device)
	if err != nil {
		return err
	}
	start := time.Now()
	for n := range cycles {
		if err := l.cycle(ctx, strconv.Itoa(n)); err != nil {
			return err
		}
	}
	took := time.Since(start)
	after, err := flushes(device)
	if err != nil {
		return err
	}
	fmt.Printf("bench %d cycles: %.1f flushes, %.0f ms\n", cycles,
		float64(after-before)/float64(cycles), float64(took.Milliseconds())/float64(cycles))
	return d.stop()
}

// cycle does the operations once, and waits until the devices are gone.
func (l *life) cycle(ctx context.Context, name string) error {
	s := l.snapshotter()
	base, child, view := "base-"+name, "child-"+name, "view-"+name
	if _, err := s.Prepare(ctx, base+"-work", "", rooted); err != nil {
		return err
	}
	if err := s.Commit(ctx, base, base+"-work", rooted); err != nil {
		return err
	}
	if _, err := s.Prepare(ctx, child+"-work", base, rooted); err != nil {
		return err
	}
	if err := s.Commit(ctx, child, child+"-work", rooted); err != nil {
		return err
	}
	if _, err := s.View(ctx, view, child, rooted); err != nil {
		return err
	}
	for _, key := range []string{view, child, base} {
		if err := s.Remove(ctx, key); err != nil {
			return err
		}
	}
	return l.collect(ctx)
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
