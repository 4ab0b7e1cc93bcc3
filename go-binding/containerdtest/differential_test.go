package containerdtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	sequences = flag.Int("sequences", 2000,
		"how many random sequences of operations TestDifferential runs")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first sequence")
)

// containerds are the stores that ours is compared with.
var containerds = map[string]opener{"v1.7": openContainerd1, "v2": openContainerd2}

// run runs a program on both stores and compares them after each step and at the end.
func run(t testing.TB, open opener, code []byte) {
	pair := newPair(t, open)
	for p := (&program{code}); p.more(); {
		step(pair, p)
	}
	pair.finish()
}

// step runs one operation. Changes of devices are the most frequent, replacements of files the
// rarest.
func step(pair *pair, p *program) {
	switch op := p.next(); {
	case op < 72:
		pair.add(p.device())
	case op < 96:
		pair.get(p.name())
	case op < 140:
		name, to := p.name(), p.device()
		pair.update(name, to, int(p.next())%callbackEndings)
	case op < 160:
		pair.changeState(p.name(), pick(p, states))
	case op < 184:
		pair.markFaulty(p.name())
	case op < 224:
		pair.remove(p.name())
	case op < 238:
		pair.walk(1 + int(p.next())%(2*len(names)))
	case op < 250:
		pair.names()
	case op < 252:
		pair.closed()
	case op < 254:
		pair.takeOver()
	default:
		pair.giveBack()
	}
}

// TestDifferential runs random sequences of operations against each of containerd's stores and
// ours.
func TestDifferential(t *testing.T) {
	const length = 1000 // bytes: 220 operations or so
	for version, open := range containerds {
		for i := range uint64(*sequences) / uint64(len(containerds)) {
			seed := *firstSeed + i
			t.Run(fmt.Sprintf("%s/%d", version, seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 0))
				code := make([]byte, length)
				for i := range code {
					code[i] = byte(random.Uint32())
				}
				run(t, open, code)
			})
		}
	}
}

// Pieces of programs, as step reads them. Devices are given by their index in names.
func addDevice(name byte) []byte  { return []byte{0, 0, name, 1, 2, 2, 3} }
func addFaulty(name byte) []byte  { return []byte{0, 9, name, 1, 3, 13, 0} }
func markDevice(name byte) []byte { return []byte{160, name} }
func dropDevice(name byte) []byte { return []byte{184, name} }

func updateDevice(name, ending byte) []byte {
	return []byte{96, name, 0, 2, 3, 4, 5, 6, ending}
}

var (
	walkAll     = []byte{224, 29}
	listNames   = []byte{238}
	closeReopen = []byte{250}
	takeOver    = []byte{252}
	giveBack    = []byte{254}
)

// seeds are programs for the peculiarities of the stores.
func seeds() [][]byte {
	var digits, endings []byte
	// Ids of one digit and of two become free, and containerd takes 10 before 2.
	for name := range byte(12) {
		digits = append(digits, addDevice(name)...)
	}
	for _, name := range []byte{9, 1, 10, 2} {
		digits = append(digits, dropDevice(name)...)
	}
	for _, name := range []byte{12, 13, 1, 2} {
		digits = append(digits, addDevice(name)...)
	}
	// Every way for a callback to end, on an existing device and on an absent one.
	endings = append(endings, addDevice(0)...)
	for ending := range byte(callbackEndings) {
		endings = append(append(endings, updateDevice(0, ending)...), updateDevice(1, ending)...)
	}
	return [][]byte{
		{},
		append(digits, walkAll...),
		endings,
		// A faulty device is replaced, once with its id faulty and once with it still taken; then
		// each store gets the other's file.
		slices.Concat(addDevice(0), markDevice(0), addDevice(0), addFaulty(1), addDevice(1), addFaulty(2),
			dropDevice(2),
			takeOver, addDevice(3), giveBack, addDevice(4), walkAll),
		slices.Concat(addDevice(0), addDevice(0), addDevice(15), listNames, closeReopen, dropDevice(0),
			dropDevice(0),
			listNames, walkAll, addDevice(1), markDevice(1), markDevice(1), dropDevice(1), addDevice(2)),
	}
}

// FuzzDifferential lets the fuzzer write the sequences:
//
//	go test -run '^$' -fuzz FuzzDifferential .
func FuzzDifferential(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			t.Skip("long programs find nothing that short ones do not")
		}
		run(t, openContainerd2, code)
	})
}
