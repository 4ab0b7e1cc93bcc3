package containerdtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// both are the ids that one device has in containerd's store and in ours.
type both struct {
	theirs, ours uint32
}

// pair runs each operation on containerd's store and on ours, and compares the results.
type pair struct {
	t            testing.TB
	open         opener // of containerd's
	dir          string
	theirs, ours store

	// The predictions for the ids. Everything else is compared directly.
	theirIDs, ourIDs *ledger
	ids              map[string]both

	done []string // the operations so far, for a report
}

func newPair(t testing.TB, open opener) *pair {
	p := &pair{
		t: t, open: open, dir: scratch(t),
		theirIDs: containerdLedger(), ourIDs: ourLedger(), ids: map[string]both{},
	}
	p.reopen()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("operations:\n\t%s", strings.Join(p.done, "\n\t"))
		}
	})
	return p
}

func (p *pair) theirPath() string { return filepath.Join(p.dir, "theirs.db") }

func (p *pair) ourPath() string { return filepath.Join(p.dir, "ours.db") }

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) reopen() {
	p.t.Helper()
	p.reopenTheirs()
	p.reopenOurs()
}

func (p *pair) reopenTheirs() {
	p.t.Helper()
	var err error
	p.theirs, err = p.open(p.theirPath())
	p.must(err)
}

func (p *pair) reopenOurs() {
	p.t.Helper()
	var err error
	p.ours, err = openOurs(p.ourPath())
	p.must(err)
}

func (p *pair) close() {
	p.t.Helper()
	p.must(p.theirs.Close())
	p.must(p.ours.Close())
}

// note keeps an operation for the report.
func (p *pair) note(format string, arguments ...any) {
	p.done = append(p.done, fmt.Sprintf(format, arguments...))
}

// errCallback is the error of callbacks.
var errCallback = errors.New("the callback's own error")

// sameError compares the errors that both stores returned, and reports whether the operation
// succeeded.
func (p *pair) sameError(theirs, ours error) bool {
	p.t.Helper()
	if (theirs == nil) != (ours == nil) {
		p.t.Fatalf("theirs: %v\nours:   %v", theirs, ours)
	}
	// containerd returns these values themselves, and some of its callers compare with ==.
	for _, exact := range []error{errCallback, errdefs.ErrNotFound} {
		if (theirs == exact) != (ours == exact) {
			p.t.Fatalf("one is %q itself and the other is not\ntheirs: %#v\nours:   %#v", exact, theirs,
				ours)
		}
	}
	for _, class := range []error{errdefs.ErrNotFound, errdefs.ErrAlreadyExists, errCallback} {
		if errors.Is(theirs, class) != errors.Is(ours, class) {
			p.t.Fatalf("one is %q and the other is not\ntheirs: %v\nours:   %v", class, theirs, ours)
		}
	}
	return theirs == nil
}

// sameDevice compares a device of both stores, and its ids with the predictions.
func (p *pair) sameDevice(theirs, ours device) {
	p.t.Helper()
	if want := p.ids[theirs.Name]; theirs.ID != want.theirs || ours.ID != want.ours {
		p.t.Fatalf("device %q has the ids %d and %d, want %d and %d",
			theirs.Name, theirs.ID, ours.ID, want.theirs, want.ours)
	}
	theirs.ID, ours.ID = 0, 0
	if theirs != ours {
		p.t.Fatalf("theirs: %+v\nours:   %+v", theirs, ours)
	}
}

// add adds a device to both.
func (p *pair) add(d device) {
	p.t.Helper()
	p.note("add %.200q", fmt.Sprintf("%+v", d))
	theirs, ours := d, d
	theirErr, ourErr := p.theirs.Add(&theirs), p.ours.Add(&ours)
	if !p.sameError(theirErr, ourErr) {
		if ours != d {
			p.t.Fatalf("the call failed and changed the device to %+v", ours)
		}
		prefix := fmt.Sprintf("failed to save metadata for device %q (parent: %q): ", d.Name, d.Parent)
		for _, err := range []error{theirErr, ourErr} {
			if !strings.HasPrefix(err.Error(), prefix) {
				p.t.Fatalf("the error does not begin with %q: %v", prefix, err)
			}
		}
		return
	}
	if old, replaced := p.ids[d.Name]; replaced {
		p.theirIDs.replace(old.theirs)
		p.ourIDs.replace(old.ours)
	}
	p.ids[d.Name] = both{p.theirIDs.take(), p.ourIDs.take()}
	p.sameDevice(theirs, ours)
}

func (p *pair) get(name string) {
	p.t.Helper()
	p.note("get %.50q", name)
	theirs, theirErr := p.theirs.Get(name)
	ours, ourErr := p.ours.Get(name)
	if p.sameError(theirErr, ourErr) {
		p.sameDevice(theirs, ours)
	} else if theirs != ours {
		p.t.Fatalf("with an error came\n%+v\nand\n%+v", theirs, ours)
	}
}

func (p *pair) changeState(name string, state int) {
	p.t.Helper()
	p.note("change state of %.50q to %d", name, state)
	p.sameError(p.theirs.ChangeState(name, state), p.ours.ChangeState(name, state))
}

func (p *pair) markFaulty(name string) {
	p.t.Helper()
	p.note("mark %.50q", name)
	if p.sameError(p.theirs.MarkFaulty(name), p.ours.MarkFaulty(name)) {
		p.theirIDs.states[p.ids[name].theirs] = idFaulty
		p.ourIDs.states[p.ids[name].ours] = idFaulty
	}
}

func (p *pair) remove(name string) {
	p.t.Helper()
	p.note("remove %.50q", name)
	if p.sameError(p.theirs.Remove(name), p.ours.Remove(name)) {
		p.theirIDs.states[p.ids[name].theirs] = idFree
		p.ourIDs.states[p.ids[name].ours] = idFree
		delete(p.ids, name)
	}
}

// walk walks over both until the callback has seen that many devices, and then fails.
func (p *pair) walk(enough int) {
	p.t.Helper()
	p.note("walk over %d", enough)
	theirs, theirErr := walked(p.theirs, enough)
	ours, ourErr := walked(p.ours, enough)
	p.sameError(theirErr, ourErr)
	if len(theirs) != len(ours) || len(theirs) != min(enough, len(p.ids)) {
		p.t.Fatalf("%d and %d devices, want %d", len(theirs), len(ours), min(enough, len(p.ids)))
	}
	for i := range theirs {
		p.sameDevice(theirs[i], ours[i])
	}
}

func walked(s store, enough int) (seen []device, err error) {
	err = s.Walk(func(d device) error {
		if seen = append(seen, d); len(seen) >= enough {
			return errCallback
		}
		return nil
	})
	return seen, err
}

func (p *pair) names() {
	p.t.Helper()
	p.note("names")
	theirs, theirErr := p.theirs.Names()
	ours, ourErr := p.ours.Names()
	p.sameError(theirErr, ourErr)
	if !slices.Equal(theirs, ours) || (theirs == nil) != (ours == nil) || len(theirs) != len(p.ids) {
		p.t.Fatalf("theirs: %#v\nours:   %#v\nwant %d", theirs, ours, len(p.ids))
	}
}

// closed closes both, twice, and checks that calls then fail.
func (p *pair) closed() {
	p.t.Helper()
	p.note("close, call, reopen")
	p.close()
	p.close()
	nothing := func(*device) error { return nil }
	for name, call := range map[string]func(store) error{
		"add":         func(s store) error { return s.Add(&device{Name: "late"}) },
		"get":         func(s store) error { d, err := s.Get("a"); return onlyEmpty(d, err) },
		"update":      func(s store) error { return s.Update("a", nothing) },
		"changeState": func(s store) error { return s.ChangeState("a", 1) },
		"markFaulty":  func(s store) error { return s.MarkFaulty("a") },
		"remove":      func(s store) error { return s.Remove("a") },
		"walk":        func(s store) error { return s.Walk(func(device) error { return nil }) },
		"names":       func(s store) error { _, err := s.Names(); return err },
	} {
		if p.sameError(call(p.theirs), call(p.ours)) {
			p.t.Fatalf("%s succeeds on a closed store", name)
		}
	}
	p.reopen()
}

// onlyEmpty returns the error if the device that came with it is empty.
func onlyEmpty(d device, err error) error {
	if d != (device{}) {
		return nil
	}
	return err
}
