package poolmetadata

import (
	"strings"
	"testing"
	"time"
)

// deferrable has a line for each state that a device changes to, and the states from which that
// change is deferred.
const deferrable = `
Unknown:      Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Creating:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Created:      Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Activating:   Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Suspending:   Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Suspended:    Suspending
Resuming:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Deactivating: Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Suspended Resumed Deactivated
Removing:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Removed
Removed:      Removing
`

// isListed looks a change up in the list above.
func isListed(from, to DeviceState) bool {
	section := ""
	for line := range strings.Lines(deferrable) {
		words := strings.Fields(line)
		if len(words) > 0 && strings.HasSuffix(words[0], ":") {
			section, words = strings.TrimSuffix(words[0], ":"), words[1:]
		}
		for _, word := range words {
			if section == stateName(to) && word == stateName(from) {
				return true
			}
		}
	}
	return false
}

// stateName returns a state's name; String has none for Unknown.
func stateName(state DeviceState) string {
	if state == Unknown {
		return "Unknown"
	}
	return state.String()
}

// flushesOf returns how often the store has flushed during fn.
func flushesOf(t *testing.T, store *PoolMetadata, fn func() error) uint64 {
	t.Helper()
	before, err := store.Stats()
	ok(t, err)
	ok(t, fn())
	after, err := store.Stats()
	ok(t, err)
	return after.Flushes - before.Flushes
}

func setState(store *PoolMetadata, to DeviceState) func() error {
	return func() error {
		return store.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error {
			info.State = to
			return nil
		})
	}
}

func TestDeferredStatesFlushAllButTheListedChanges(t *testing.T) {
	for _, deferred := range []bool{true, false} {
		opts := []Option{WithDeferredAge(time.Hour)}
		if deferred {
			opts = append(opts, WithDeferredStates())
		}
		store := openStore(t, newPath(t), opts...)
		add(t, store, DeviceInfo{Name: "dev"})
		for from := Unknown; from <= Faulty; from++ {
			for to := Unknown; to <= Faulty; to++ {
				// This is always flushed.
				if n := flushesOf(t, store, func() error {
					return store.ChangeDeviceState(ctx, "dev", from)
				}); n != 1 {
					t.Errorf("a change to %v by ChangeDeviceState: %d flushes", from, n)
				}
				want := uint64(1)
				if deferred && isListed(from, to) {
					want = 0
				}
				if n := flushesOf(t, store, setState(store, to)); n != want {
					t.Errorf("deferred %v, from %v to %v: %d flushes", deferred, from, to, n)
				}
			}
		}
		ok(t, store.Close())
	}
}

func TestDeferredStatesFlushWhatChangesMoreThanTheState(t *testing.T) {
	store := openStore(t, newPath(t), WithDeferredStates(), WithDeferredAge(time.Hour))
	add(t, store, DeviceInfo{Name: "dev", State: Unknown, Size: 1})
	update := func(fn func(*DeviceInfo)) func() error {
		return func() error {
			return store.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error {
				info.State = Creating
				fn(info)
				return nil
			})
		}
	}
	for what, row := range map[string]struct {
		fn   func(*DeviceInfo)
		want uint64
	}{
		"state":  {func(*DeviceInfo) {}, 0},
		"error":  {func(info *DeviceInfo) { info.Error += "no space left" }, 0},
		"size":   {func(info *DeviceInfo) { info.Size++ }, 1},
		"parent": {func(info *DeviceInfo) { info.ParentName += "p" }, 1},
	} {
		if n := flushesOf(t, store, update(row.fn)); n != row.want {
			t.Errorf("%s: %d flushes, not %d", what, n, row.want)
		}
	}
	for _, row := range []struct {
		what string
		fn   func() error
	}{
		{"add", func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "other"}) }},
		{"faulty", func() error { return store.MarkFaulty(ctx, "dev") }},
		{"remove", func() error { return store.RemoveDevice(ctx, "dev") }},
	} {
		if n := flushesOf(t, store, row.fn); n != 1 {
			t.Errorf("%s: %d flushes", row.what, n)
		}
	}
}

func TestUpdateInTwoStepsDefersStates(t *testing.T) {
	store := openStore(t, newPath(t), WithDeferredStates(), WithDeferredAge(time.Hour))
	add(t, store, DeviceInfo{Name: "dev", State: Created})
	for _, row := range []struct {
		to   DeviceState
		want uint64
	}{{Activating, 0}, {Activated, 1}} {
		if n := flushesOf(t, store, func() error {
			u, err := store.BeginUpdate("dev")
			if err != nil {
				return err
			}
			u.Info.State = row.to
			return u.Commit()
		}); n != row.want {
			t.Errorf("to %v: %d flushes", row.to, n)
		}
	}
}
