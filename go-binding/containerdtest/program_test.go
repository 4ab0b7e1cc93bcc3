package containerdtest

import (
	"math"
	"strings"
)

// program is a sequence of operations in bytes, such as a fuzzer makes: an operation, then its
// arguments.
type program struct {
	rest []byte
}

func (p *program) more() bool { return len(p.rest) > 0 }

// next returns the next byte, or 0 where there is none.
func (p *program) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

// pick returns one of the choices.
func pick[T any](p *program, choices []T) T { return choices[int(p.next())%len(choices)] }

// The names are few, so that operations meet on one device. Among them are names whose byte order
// is not that of numbers and letters, names that JSON escapes, and the longest name.
var names = []string{
	"a", "b", "aa", "snap-1", "snap-10", "snap-2", "B", "thin/dev", "<&>", "\u00e9", " ",
	"line\nbreak", "\u2028",
	"\"quoted\"", strings.Repeat("n", 511), "",
}

// name returns one of the names, or one of the program's own bytes, changed such that both stores
// allow it.
func (p *program) name() string {
	b := p.next()
	if b < 0xf0 {
		return names[int(b)%len(names)]
	}
	length := min(int(b&0x0f), len(p.rest))
	text := string(p.rest[:length])
	p.rest = p.rest[length:]
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "0"), "?")
}

var sizes = []uint64{0, 1, 512, 10 << 30, 1<<53 + 1, math.MaxInt64, math.MaxUint64}

var texts = []string{
	"", "", "", "device or resource busy", "<\"\\&\u2028>",
	strings.Repeat("long ", 200), strings.Repeat("page", 5000),
}

// states has each state, and twice those that have an effect.
var states = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 13, 13}

// device returns a device to add. The store must ignore its id.
func (p *program) device() device {
	return device{
		ID:     uint32(p.next()),
		Name:   p.name(),
		Parent: p.name(),
		Size:   pick(p, sizes),
		State:  pick(p, states),
		Error:  pick(p, texts),
	}
}
