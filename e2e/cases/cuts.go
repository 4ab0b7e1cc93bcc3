package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// ledgerDevice is the disk on which acknowledgements are written before the work goes on. Nothing
// that is tested uses it.
const ledgerDevice = "/dev/vdc"

// block is the size of a line in the ledger.
const block = 512

// ledger is a list of lines that a loss of power does not shorten: each is written synchronously.
type ledger struct {
	mu   sync.Mutex
	file *os.File
	next int64
}

// openLedger returns the ledger and the lines in it.
func openLedger() (*ledger, []string, error) {
	file, err := os.OpenFile(ledgerDevice, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return nil, nil, err
	}
	l := &ledger{file: file}
	var lines []string
	text := make([]byte, block)
	for {
		if _, err := file.ReadAt(text, l.next); err != nil {
			return nil, nil, fmt.Errorf("the ledger is full or unreadable: %w", err)
		}
		line, _, _ := strings.Cut(string(text), "\x00")
		if line == "" {
			return l, lines, nil
		}
		lines = append(lines, line)
		l.next += block
	}
}

func (l *ledger) add(what, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := make([]byte, block)
	copy(text, what+" "+key)
	if _, err := l.file.WriteAt(text, l.next); err != nil {
		return err
	}
	l.next += block
	return nil
}

// The lines of the ledger: an operation was acknowledged, or the removal or commit of a key begins,
// after which it may be there or not.
const (
	present = "present"
	absent  = "absent"
	open    = "open"
)

// acknowledged returns what the keys must be: present, absent or open.
func acknowledged(lines []string) map[string]string {
	keys := map[string]string{}
	for _, line := range lines {
		if what, key, ok := strings.Cut(line, " "); ok {
			keys[key] = what
		}
	}
	return keys
}

// cut is one boot of a machine that loses its power: it checks what was acknowledged in the boots
// before, does new work, and restarts the machine in the middle of more. With last it does not.
func cut(ctx context.Context, d *daemon, seed uint64, last bool) error {
	log, lines, err := openLedger()
	if err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	l := &life{daemon: d, kept: map[string]string{}}
	if len(lines) == 0 {
		if err := prepareAndCommit(ctx, l); err != nil {
			return err
		}
		if err := log.add(open, "begin"); err != nil {
			return err
		}
	}
	keys := acknowledged(lines)
	if err := l.checkLedger(ctx, keys); err != nil {
		return fmt.Errorf("lost: %w", err)
	}
	// The first new work after a start is what an interrupted prepare is in the way of.
	key := fmt.Sprintf("new-%d", seed)
	if err := l.prepareAcknowledged(ctx, log, key); err != nil {
		return fmt.Errorf("jammed: %w", err)
	}
	fmt.Printf("round %d: the state of %d keys is as acknowledged\n", seed, len(keys))
	if err := report(); err != nil {
		return err
	}
	if last {
		if err := l.noMetadataSnapshot(); err != nil {
			return err
		}
		return d.stop()
	}
	for worker := range 2 {
		go l.workAcknowledged(ctx, log, fmt.Sprintf("r%d-%d", seed, worker))
	}
	random := rand.New(rand.NewPCG(seed, 3))
	time.Sleep(time.Duration(300+random.IntN(4000)) * time.Millisecond)
	return os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
}

// report writes to the console, which outlives a loss of power, how the start went.
func report() error {
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer console.Close()
	for _, name := range []string{"containerd", "proxy"} {
		text, err := os.ReadFile("/results/" + name + ".log")
		if err == nil && strings.Contains(string(text), "took back a device") {
			fmt.Fprintln(console, "cut: took back a device")
		}
	}
	_, err = fmt.Fprintln(console, "cut: new work is possible")
	return err
}

func (l *life) prepareAcknowledged(ctx context.Context, log *ledger, key string) error {
	if _, err := l.snapshotter().Prepare(ctx, key, "layer-1", rooted); err != nil {
		return err
	}
	return log.add(present, key)
}

// workAcknowledged prepares, commits and removes snapshots until the power fails.
func (l *life) workAcknowledged(ctx context.Context, log *ledger, name string) {
	s := l.snapshotter()
	step := func(n int) error {
		key := fmt.Sprintf("%s-%d", name, n)
		if err := l.prepareAcknowledged(ctx, log, key); err != nil || n%3 == 0 {
			return err
		}
		if err := log.add(open, key); err != nil {
			return err
		}
		committed := key + "-committed"
		if n%3 == 1 {
			if err := s.Commit(ctx, committed, key, rooted); err != nil {
				return err
			}
			return log.add(present, committed)
		}
		if err := s.Remove(ctx, key); err != nil {
			return err
		}
		return log.add(absent, key)
	}
	for n := 0; ; n++ {
		if err := step(n); err != nil {
			fmt.Printf("    %s-%d: %v\n", name, n, err)
			return
		}
	}
}

// checkLedger wants the keys to be as they were acknowledged. Snapshots that are there have the
// files of their parent.
func (l *life) checkLedger(ctx context.Context, keys map[string]string) error {
	for key, what := range keys {
		_, err := l.snapshotter().Stat(ctx, key)
		switch {
		case what == present && err != nil:
			return fmt.Errorf("%s was acknowledged: %w", key, err)
		case what == absent && err == nil:
			return fmt.Errorf("the removal of %s was acknowledged, and it is there", key)
		case what == absent && !errdefs.IsNotFound(err):
			return err
		case what != present || strings.HasSuffix(key, "-committed"):
			continue
		}
		if err := l.checkMountable(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
