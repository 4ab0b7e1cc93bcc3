//go:build linux

package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

func TestComparisonLogsWhatDiffersBothWays(t *testing.T) {
	for what, c := range map[string]struct {
		list string
		want []string
		not  string
	}{
		"nothing differs": {"1 \n2 \n", []string{"have the same devices", "devices=2"}, "WARN"},
		"only in the store": {"1\n", []string{`what="device \"pool-snap-2\"`, "differences=1",
			"not_logged=0", "nothing was changed"}, "pool-snap-1"},
		"only in the pool": {"1\n2\n3\n", []string{"id 3 is in the pool", "differences=1"},
			"pool-snap"},
		"both ways": {"1\n9\n", []string{"pool-snap-2", "id 9 is", "differences=2"}, "snap-1"},
		"another pool": {"7\n8\n", []string{"none of the store's devices", "differences=4"},
			"id 7"},
		"an empty pool": {"", []string{"none of the store's devices", "differences=2"}, "snap-1"},
		"very many": {"1\n2\n" + numbers(100, 5000), []string{"id 109 is", "differences=4900",
			"not_logged=4890"}, "id 110 is"},
	} {
		p, k := newThin(t, snap(1, activated), snap(2, activated))
		k.list = c.list
		before := p.names(t)
		p.Compare(t.Context())
		logged := p.logged.String()
		for _, want := range c.want {
			if !strings.Contains(logged, want) {
				t.Errorf("%s: no %q in %s", what, want, logged)
			}
		}
		// The commands have the store's path.
		lines := strings.ReplaceAll(logged, p.path, "")
		if strings.Contains(lines, c.not) || strings.Count(logged, "\n") > maxLogged+1 {
			t.Errorf("%s: the log has %s", what, logged)
		}
		if strings.Contains(logged, "WARN") != strings.Contains(logged, "pmctl reconcile -n") {
			t.Errorf("%s: what is to be typed? %s", what, logged)
		}
		if got := p.names(t); !slices.Equal(got, before) {
			t.Errorf("%s: the store has %q, before %q", what, got, before)
		}
		p.noSnapshot(t, k)
	}
}

func numbers(from, to int) string {
	var text strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintln(&text, n)
	}
	return text.String()
}

// What the snapshotter does while the pool is listed is not taken for a difference.
func TestComparisonLeavesOutWhatIsMadeMeanwhile(t *testing.T) {
	p, k := newThin(t, snap(1, activated), snap(2, activated))
	k.list = "1\n2\n"
	k.before = func(_ context.Context, call string) error {
		if call != list {
			return nil
		}
		p.remove(t, "pool-snap-2")
		next := snap(3, activated)
		next.State = poolmetadata.Creating
		return p.store.AddDevice(t.Context(), &next)
	}
	p.Compare(t.Context())
	if !strings.Contains(p.logged.String(), "have the same devices") {
		t.Errorf("the log has %s", &p.logged)
	}
}

func TestPoolThatCannotBeListedIsLeftAlone(t *testing.T) {
	fail := func(broken string) func(context.Context, string) error {
		return func(_ context.Context, call string) error {
			if strings.Contains(call, broken) {
				return errors.New("Input/output error")
			}
			return nil
		}
	}
	for what, c := range map[string]struct {
		set  func(p *pool, k *thin)
		want string
	}{
		"thin_ls is missing": {func(p *pool, _ *thin) {
			p.lookPath = func(string) (string, error) { return "", errors.New("thin_ls not found") }
		}, "thin_ls not found; install the package thin-provisioning-tools"},
		"the pool is suspended": {func(_ *pool, k *thin) { k.suspended = "Suspended" },
			"the pool pool is not active: Suspended"},
		"the pool has failed": {func(_ *pool, k *thin) { k.status = []string{"Fail"} },
			"the pool pool does not work: Fail"},
		"the pool is read-only": {func(_ *pool, k *thin) { k.status[4] = "ro" }, "is read-only"},
		"another program has a metadata snapshot": {func(_ *pool, k *thin) { k.status[3] = "31" },
			"which another program uses; if none does, type: dmsetup message pool 0 release"},
		"another program was faster": {func(_ *pool, k *thin) {
			k.before = func(_ context.Context, call string) error {
				if call == reserve {
					k.status[3] = "31"
				}
				return nil
			}
		}, "which another program uses"},
		"it is no pool": {func(_ *pool, k *thin) { k.before = fail("table") }, "Input/output error"},
		"the status cannot be read": {func(_ *pool, k *thin) { k.before = fail("status") },
			"Input/output error"},
		"the metadata device is unknown": {func(p *pool, _ *thin) { p.pool.sysfs += "/none" },
			"no such file"},
		"the metadata device has no name": {func(p *pool, _ *thin) {
			uevent := filepath.Join(p.pool.sysfs, "7:7", "uevent")
			if err := os.WriteFile(uevent, nil, 0o600); err != nil {
				panic(err)
			}
		}, "has no name"},
		"nothing can be noted": {func(p *pool, _ *thin) {
			p.pool.notes.path = filepath.Join(filepath.Dir(p.path), "none", "x")
		}, "the notes of the recovery"},
		"the notes are damaged": {func(p *pool, _ *thin) {
			p.pool.notes.path = filepath.Dir(p.path)
		}, "the notes of the recovery"},
	} {
		p, k := newThin(t, snap(1, activated))
		c.set(p, k)
		held := append([]string{}, k.status...)
		p.Compare(t.Context())
		if logged := p.logged.String(); !strings.Contains(logged, c.want) ||
			!strings.Contains(logged, "was not compared with the pool") ||
			strings.Count(logged, "\n") != 1 {
			t.Errorf("%s: the log has %s", what, logged)
		}
		if slices.Contains(k.calls, release) {
			t.Errorf("%s: calls %q", what, k.calls)
		}
		if what != "another program was faster" && !slices.Equal(k.status, held) {
			t.Errorf("%s: the pool is %q, before %q", what, k.status, held)
		}
	}
}

func TestStopEndsComparisonInBackground(t *testing.T) {
	p, k := newThin(t, snap(1, activated))
	hangs := make(chan struct{})
	k.before = func(ctx context.Context, call string) error {
		if call == list {
			close(hangs)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	p.CompareInBackground(true, nil)
	<-hangs
	p.Stop()
	p.noSnapshot(t, k)
	if p.logged.Len() > 0 {
		t.Errorf("the log has %s", &p.logged)
	}
}

func TestComparisonComesWithEachSignal(t *testing.T) {
	for _, now := range []bool{false, true} {
		p, k := newThin(t, snap(1, activated))
		listed := make(chan struct{})
		k.before = func(_ context.Context, call string) error {
			if call == list {
				listed <- struct{}{}
			}
			return nil
		}
		signals := make(chan os.Signal)
		p.CompareInBackground(now, signals)
		if now {
			<-listed
		}
		for range 2 {
			signals <- syscall.SIGHUP
			<-listed
		}
		p.Stop()
		p.noSnapshot(t, k)
	}
}
