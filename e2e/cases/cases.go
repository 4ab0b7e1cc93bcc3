package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

func usage(ctx context.Context, l *life) error {
	s := l.snapshotter()
	if _, err := s.Prepare(ctx, "usage", "layer-4", rooted); err != nil {
		return err
	}
	before, err := s.Usage(ctx, "usage")
	if err != nil {
		return err
	}
	const size = 4 << 20
	if err := l.write(ctx, "usage", "large", strings.Repeat("x", size)); err != nil {
		return err
	}
	after, err := s.Usage(ctx, "usage")
	if err != nil {
		return err
	}
	if grown := after.Size - before.Size; grown < size || grown > 2*size {
		return fmt.Errorf("%d bytes, and %d after a file of %d", before.Size, after.Size, size)
	}
	return s.Remove(ctx, "usage")
}

func refused(ctx context.Context, l *life) error {
	s := l.snapshotter()
	before, err := l.snapshots(ctx)
	if err != nil {
		return err
	}
	_, taken := s.Prepare(ctx, "container-1", "layer-1", rooted)
	_, orphan := s.Prepare(ctx, "orphan", "no-such-layer", rooted)
	for _, err := range []error{
		wantError("prepare of a key in use", taken, errdefs.IsAlreadyExists),
		wantError("prepare on a missing parent", orphan, errdefs.IsNotFound),
		wantError("commit of a missing key", s.Commit(ctx, "layer", "no-such-key", rooted),
			errdefs.IsNotFound),
		wantError("commit to a name in use", s.Commit(ctx, "layer-1", "container-1", rooted),
			errdefs.IsAlreadyExists),
		wantError("remove of a missing key", s.Remove(ctx, "no-such-key"), errdefs.IsNotFound),
		wantError("remove of a parent", s.Remove(ctx, "layer-2"), errdefs.IsFailedPrecondition),
	} {
		if err != nil {
			return err
		}
	}
	after, err := l.snapshots(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("before %q, after %q", before, after)
	}
	if l.proxy != "" {
		if err := checkMetrics(); err != nil {
			return err
		}
	}
	return l.check(ctx)
}

// snapshots returns the names of all snapshots, sorted.
func (l *life) snapshots(ctx context.Context) (names []string, err error) {
	err = l.snapshotter().Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		names = append(names, info.Name)
		return nil
	})
	slices.Sort(names)
	return names, err
}

func remove(ctx context.Context, l *life) error {
	s := l.snapshotter()
	if err := l.collect(ctx); err != nil {
		return err
	}
	before, err := l.devices()
	if err != nil {
		return err
	}
	if _, err := s.Prepare(ctx, "short-lived", "layer-1", rooted); err != nil {
		return err
	}
	if during, err := l.devices(); err != nil || len(during) != len(before)+1 {
		return fmt.Errorf("devices are %q, before %q, %v", during, before, err)
	}
	if err := s.Remove(ctx, "short-lived"); err != nil {
		return err
	}
	if err := l.collect(ctx); err != nil {
		return err
	}
	after, err := l.devices()
	if err != nil || !slices.Equal(before, after) {
		return fmt.Errorf("devices are %q, before %q, %v", after, before, err)
	}
	return nil
}

// collect makes containerd collect garbage, which removes the devices of removed snapshots, and
// waits for the end of it.
func (l *life) collect(ctx context.Context) error {
	service := l.client.LeasesService()
	lease, err := service.Create(ctx, leases.WithRandomID())
	if err != nil {
		return err
	}
	return service.Delete(ctx, lease, leases.SynchronousDelete)
}

// restart stops the daemons in order.
func restart(ctx context.Context, l *life) error {
	if err := l.stop(); err != nil {
		return err
	}
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	return l.keep(ctx, "after-restart", "layer-4")
}

// reboot makes all devices vanish, as a reboot does. The pool itself is there again at a boot.
func reboot(ctx context.Context, l *life) error {
	if err := l.kill(); err != nil {
		return err
	}
	names, err := l.devices()
	if err != nil || len(names) < 2 {
		return fmt.Errorf("devices are %q, %v", names, err)
	}
	for _, name := range names {
		if output, err := exec.Command("dmsetup", "remove", name).CombinedOutput(); err != nil {
			return fmt.Errorf("dmsetup remove %s: %w: %s", name, err, output)
		}
	}
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	return l.keep(ctx, "after-reboot", "layer-4")
}

// rounds is how often the daemons are killed at work.
const rounds = 5

// kills kills the daemons while clients work. What was acknowledged has to be there afterwards.
func kills(ctx context.Context, l *life) error {
	random := rand.New(rand.NewPCG(1, 2))
	acknowledged := 0
	for round := range rounds {
		done := make(chan []string, 2)
		for worker := range 2 {
			go func() { done <- l.work(ctx, fmt.Sprintf("round-%d-%d", round, worker)) }()
		}
		time.Sleep(time.Duration(500+random.IntN(3000)) * time.Millisecond)
		if err := l.kill(); err != nil {
			return err
		}
		keys := append(<-done, <-done...)
		acknowledged += len(keys)
		if err := l.start(ctx); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := l.checkAcknowledged(ctx, keys); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := l.check(ctx); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		_, err := l.snapshotter().Prepare(ctx, fmt.Sprintf("new-%d", round), "layer-1", rooted)
		if err != nil && l.recovers {
			return fmt.Errorf("round %d: new work: %w", round, err)
		}
	}
	if acknowledged == 0 {
		return errors.New("nothing was acknowledged before a kill: the rounds prove nothing")
	}
	fmt.Printf("    %d operations were acknowledged in %d rounds\n", acknowledged, rounds)
	return nil
}

// checkAcknowledged wants snapshots to be mountable, with the files of their parent.
func (l *life) checkAcknowledged(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := l.checkMountable(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) checkMountable(ctx context.Context, key string) error {
	mounts, err := l.snapshotter().Mounts(ctx, key)
	if err == nil {
		err = l.files(mounts, map[string]string{"a": "one"})
	}
	if err != nil {
		return fmt.Errorf("%s was acknowledged: %w", key, err)
	}
	return nil
}

// work prepares snapshots until it fails, and returns the keys of those that were acknowledged.
func (l *life) work(ctx context.Context, name string) (keys []string) {
	s := l.snapshotter()
	for n := 0; ; n++ {
		key := fmt.Sprintf("%s-%d", name, n)
		if _, err := s.Prepare(ctx, key, "layer-1", rooted); err != nil {
			fmt.Printf("    %s: %v\n", key, err)
			return keys
		}
		keys = append(keys, key)
	}
}
