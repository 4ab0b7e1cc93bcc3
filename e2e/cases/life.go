package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// life is the state between the cases.
type life struct {
	*daemon
	// kept are the active snapshots that must not be lost, and what the file /file in each has.
	kept map[string]string
}

// rooted is the label without which containerd's garbage collection removes a snapshot.
var rooted = snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "e2e"})

// mounted mounts what the snapshotter says, calls fn with the directory, and unmounts it. There
// must be one mount, of a device of the pool.
func (l *life) mounted(mounts []mount.Mount, fn func(dir string) error) (err error) {
	if len(mounts) != 1 || !strings.HasPrefix(mounts[0].Source, "/dev/mapper/"+l.pool+"-snap-") {
		return fmt.Errorf("the mounts are %+v", mounts)
	}
	dir, err := os.MkdirTemp("", "mounted-")
	if err != nil {
		return err
	}
	if err := mount.All(mounts, dir); err != nil {
		return fmt.Errorf("mount %+v: %w", mounts, err)
	}
	defer func() { err = errors.Join(err, mount.UnmountAll(dir, 0), os.Remove(dir)) }()
	// An empty directory would pass for a file system without files.
	table, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return err
	}
	if !bytes.Contains(table, []byte(" "+dir+" ")) {
		return fmt.Errorf("nothing is mounted at %s:\n%s", dir, table)
	}
	return fn(dir)
}

// write writes a file of a snapshot.
func (l *life) write(ctx context.Context, key, name, text string) error {
	mounts, err := l.snapshotter().Mounts(ctx, key)
	if err != nil {
		return err
	}
	return l.mounted(mounts, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	})
}

// files wants the files of mounts to be these, and no others.
func (l *life) files(mounts []mount.Mount, want map[string]string) error {
	return l.mounted(mounts, func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) != len(want) {
			return fmt.Errorf("files are %v, want %q", entries, want)
		}
		for name, text := range want {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if string(got) != text {
				return fmt.Errorf("%s has %q, want %q", name, got, text)
			}
		}
		return nil
	})
}

// keep prepares a snapshot that later cases check.
func (l *life) keep(ctx context.Context, key, parent string) error {
	if _, err := l.snapshotter().Prepare(ctx, key, parent, rooted); err != nil {
		return err
	}
	if err := l.write(ctx, key, "file", key); err != nil {
		return err
	}
	l.kept[key] = key
	return nil
}

// check wants everything that is kept to be there.
func (l *life) check(ctx context.Context) error {
	for key, text := range l.kept {
		mounts, err := l.snapshotter().Mounts(ctx, key)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		err = l.mounted(mounts, func(dir string) error {
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			if err == nil && string(got) != text {
				return fmt.Errorf("it has %q", got)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// devices returns the names of the pool's active devices.
func (l *life) devices() (names []string, err error) {
	output, err := exec.Command("dmsetup", "ls", "--target", "thin").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("dmsetup ls: %w: %s", err, output)
	}
	for line := range strings.Lines(string(output)) {
		if name := strings.Fields(line)[0]; strings.HasPrefix(name, l.pool+"-snap-") {
			names = append(names, name)
		}
	}
	return names, nil
}

// wantError wants an error of a kind.
func wantError(what string, err error, is func(error) bool) error {
	if !is(err) {
		return fmt.Errorf("%s: %v", what, err)
	}
	return nil
}

func prepareAndCommit(ctx context.Context, l *life) error {
	s := l.snapshotter()
	mounts, err := s.Prepare(ctx, "first", "", rooted)
	if err != nil {
		return err
	}
	// The snapshotter removes lost+found, so a new file system is empty.
	if err := l.files(mounts, nil); err != nil {
		return err
	}
	if err := l.write(ctx, "first", "a", "one"); err != nil {
		return err
	}
	if err := s.Commit(ctx, "layer-1", "first", rooted); err != nil {
		return err
	}
	info, err := s.Stat(ctx, "layer-1")
	if err != nil || info.Kind != snapshots.KindCommitted || info.Parent != "" {
		return fmt.Errorf("layer-1 is %+v, %v", info, err)
	}
	_, err = s.Stat(ctx, "first")
	return wantError("the key after its commit", err, errdefs.IsNotFound)
}

func stack(ctx context.Context, l *life) error {
	s := l.snapshotter()
	parent, want := "layer-1", map[string]string{"a": "one"}
	for n := 2; n <= 4; n++ {
		key, name := fmt.Sprintf("work-%d", n), fmt.Sprintf("layer-%d", n)
		mounts, err := s.Prepare(ctx, key, parent, rooted)
		if err != nil {
			return err
		}
		if err := l.files(mounts, want); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if err := l.write(ctx, key, "a", name); err != nil {
			return err
		}
		if err := l.write(ctx, key, name, name); err != nil {
			return err
		}
		want["a"], want[name] = name, name
		if err := s.Commit(ctx, name, key, rooted); err != nil {
			return err
		}
		parent = name
	}
	return l.keep(ctx, "container-1", "layer-4")
}

func view(ctx context.Context, l *life) error {
	s := l.snapshotter()
	mounts, err := s.View(ctx, "view", "layer-2", rooted)
	if err != nil {
		return err
	}
	if err := l.files(mounts, map[string]string{"a": "layer-2", "layer-2": "layer-2"}); err != nil {
		return err
	}
	if err := l.mounted(mounts, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "b"), nil, 0o644); err == nil {
			return errors.New("a view can be written to")
		}
		return nil
	}); err != nil {
		return err
	}
	return s.Remove(ctx, "view")
}
