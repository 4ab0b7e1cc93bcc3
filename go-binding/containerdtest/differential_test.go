package containerdtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	sequences = flag.Int("sequences", 2000, "how many random sequences of operations TestDifferential runs")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first sequence")
)

// containerds are the stores that ours is compared with.
var containerds = map[string]opener{"v1.7": openContainerd1, "v2": openContainerd2}

// run does what a program says to both stores and compares them after each step and at the end.
func run(t testing.TB, open opener, code []byte) {
	pair := newPair(t, open)
	for p := (&program{code}); p.more(); {
		step(pair, p)
	}
	pair.finish()
}

// step does one operation. Those that change devices are the most frequent, those that replace files the rarest.
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

// TestDifferential runs random sequences of operations against each of containerd's stores and ours.
func TestDifferential(t *testing.T) {
	const length = 1000 // bytes: 200 operations or so
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

// FuzzDifferential lets the fuzzer write the sequences:
//
//	go test -fuzz FuzzDifferential
func FuzzDifferential(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			t.Skip("long programs find nothing that short ones do not")
		}
		run(t, openContainerd2, code)
	})
}
