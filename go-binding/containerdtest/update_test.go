package containerdtest

import (
	"fmt"
	"runtime"
	"strings"
)

// How a callback of an update ends.
const (
	callbackWrites = iota
	callbackFails
	callbackRenames
	callbackRenumbers
	callbackPanics
	callbackExits
	callbackReads
	callbackEndings
)

// outcome is how a call ended: it returned err, or else its goroutine panicked or exited.
type outcome struct {
	returned bool
	err      error
	panicked any
}

// end runs fn in a goroutine of its own and returns how it ended.
func end(fn func() error) (o outcome) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { o.panicked = recover() }()
		o.err = fn()
		o.returned = true
	}()
	<-done
	return o
}

// update updates a device of both with a callback that sets the fields of to and then ends in the
// given way.
func (p *pair) update(name string, to device, ending int) {
	p.t.Helper()
	p.note("update %.50q, ending %d, to %.200q", name, ending, fmt.Sprintf("%+v", to))
	var seen [2][]device
	var inside [2]string
	var ended [2]outcome
	for i, s := range []store{p.theirs, p.ours} {
		ended[i] = end(func() error {
			return s.Update(name, func(d *device) error {
				seen[i] = append(seen[i], *d)
				d.Size, d.Parent, d.State, d.Error = to.Size, to.Parent, to.State, to.Error
				switch ending {
				case callbackFails:
					return errCallback
				case callbackRenames:
					d.Name = to.Name
				case callbackRenumbers:
					d.ID += 1 + to.ID
				case callbackPanics:
					panic(errCallback)
				case callbackExits:
					runtime.Goexit()
				case callbackReads:
					inside[i] = p.view(s, name)
				}
				return nil
			})
		})
	}
	theirs, ours := ended[0], ended[1]
	if theirs.returned != ours.returned || theirs.panicked != ours.panicked {
		p.t.Fatalf("theirs ended with %+v, ours with %+v", theirs, ours)
	}
	if !p.sameError(theirs.err, ours.err) && ending >= callbackRenames {
		p.identityError(name, to, ending, ours.err)
	}
	if len(seen[0]) != len(seen[1]) || len(seen[0]) > 1 {
		p.t.Fatalf("the callback was called %d and %d times", len(seen[0]), len(seen[1]))
	}
	for i := range seen[0] {
		p.sameDevice(seen[0][i], seen[1][i])
	}
	if inside[0] != inside[1] {
		p.t.Fatalf("from inside the callback\ntheirs shows %s\nours shows   %s", inside[0], inside[1])
	}
	p.get(name)
}

// identityError looks for both values in the error of an update that changed the name or id.
func (p *pair) identityError(name string, to device, ending int, err error) {
	p.t.Helper()
	ids, exists := p.ids[name]
	if !exists {
		return
	}
	want := []string{shown(name), shown(to.Name)}
	if ending == callbackRenumbers {
		want = []string{fmt.Sprint(ids.ours), fmt.Sprint(ids.ours + 1 + to.ID)}
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			p.t.Fatalf("%s is not in the error: %v", part, err)
		}
	}
}

// shown is the part of a name that the library's messages must have: they escape bytes, and leave
// out the middle of long names.
func shown(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return r < ' ' || r > '~' || strings.ContainsRune(`"'\\`, r)
	})
	if plain >= 0 {
		name = name[:plain]
	}
	return name[:min(len(name), 16)]
}

// view is everything that can be read from a store, without ids. The callback of an update sees the
// store as it was before.
func (p *pair) view(s store, name string) string {
	d, err := s.Get(name)
	d.ID = 0
	all, walkErr := walked(s, 1<<30)
	for i := range all {
		all[i].ID = 0
	}
	names, namesErr := s.Names()
	return fmt.Sprintf("%+v %v %+v %v %q %v", d, err, all, walkErr, names, namesErr)
}
