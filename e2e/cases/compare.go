package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// foreign is an id that the store does not assign here.
const foreign = 77777

// compare makes the pool and the store differ, both ways, and wants the log to say so: of the proxy
// after a signal, of containerd after a restart. containerd's own store cannot do it.
func compare(ctx context.Context, l *life) error {
	if !l.recovers {
		return nil
	}
	s := l.snapshotter()
	before, err := l.devices()
	if err != nil {
		return err
	}
	if _, err := s.Prepare(ctx, "lost", "layer-1", rooted); err != nil {
		return err
	}
	during, err := l.devices()
	if err != nil {
		return err
	}
	during = slices.DeleteFunc(during, func(name string) bool { return slices.Contains(before, name) })
	if len(during) != 1 {
		return fmt.Errorf("new devices are %q", during)
	}
	table, err := l.dmsetup("table", during[0])
	if err != nil {
		return err
	}
	// "0 SECTORS thin POOL ID". A committed snapshot's device is not active.
	id := table[len(table)-1]
	if err := s.Commit(ctx, "lost-layer", "lost", rooted); err != nil {
		return err
	}
	pool := "/dev/mapper/" + l.pool
	for _, message := range []string{"delete " + id, fmt.Sprintf("create_thin %d", foreign)} {
		if _, err := l.dmsetup("message", pool, "0", message); err != nil {
			return err
		}
	}
	want := []string{during[0], fmt.Sprintf("id %d is in the pool", foreign), "pmctl reconcile -n",
		"nothing was changed"}
	if err := l.compareAgain(ctx, want...); err != nil {
		return err
	}
	if _, err := l.dmsetup("message", pool, "0", fmt.Sprintf("delete %d", foreign)); err != nil {
		return err
	}
	if err := l.snapshotter().Remove(ctx, "lost-layer"); err != nil {
		return err
	}
	if err := l.collect(ctx); err != nil {
		return err
	}
	if err := l.compareAgain(ctx, "the store and the pool have the same devices"); err != nil {
		return err
	}
	if err := l.noMetadataSnapshot(); err != nil {
		return err
	}
	return l.check(ctx)
}

// noMetadataSnapshot waits until the pool has no metadata snapshot, of which a comparison that was
// killed may have left one to the next.
func (l *life) noMetadataSnapshot() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, err := l.dmsetup("status", "/dev/mapper/"+l.pool)
		if err != nil || len(status) < 7 {
			return fmt.Errorf("the pool's status is %q, %w", status, err)
		}
		if status[6] == "-" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the pool keeps a metadata snapshot: %q", status)
		}
	}
}

// compareAgain has the store and the pool compared once more, and waits for these texts in the log.
func (l *life) compareAgain(ctx context.Context, texts ...string) error {
	name := "containerd"
	if l.proxy != "" {
		name = "proxy"
	}
	before, err := os.ReadFile("/results/" + name + ".log")
	if err != nil {
		return err
	}
	if l.proxy != "" {
		err = l.side.Process.Signal(syscall.SIGHUP)
	} else if err = l.stop(); err == nil {
		err = l.start(ctx)
	}
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		logged, err := os.ReadFile("/results/" + name + ".log")
		if err != nil {
			return err
		}
		logged = logged[len(before):]
		missing := slices.IndexFunc(texts, func(text string) bool {
			return !strings.Contains(string(logged), text)
		})
		if missing < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%q is not logged:\n%s", texts[missing], logged)
		}
	}
}

// dmsetup returns the words that the tool has written.
func (l *life) dmsetup(arguments ...string) ([]string, error) {
	output, err := exec.Command("dmsetup", arguments...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("dmsetup %q: %w: %s", arguments, err, output)
	}
	return strings.Fields(string(output)), nil
}
