package containerdtest

import (
	"fmt"
	"strconv"
)

// The values of the bucket of ids.
const (
	idFree = iota
	idTaken
	idFaulty
)

// ledger predicts the ids that a store assigns, and the state of each.
type ledger struct {
	// earlier reports whether the store reuses the first of two free ids first.
	earlier func(a, b uint32) bool
	// left is the new state of the id of a faulty device that is replaced: its old state, or always
	// idFaulty.
	left   func(state int) int
	states map[uint32]int
	last   uint32
}

// containerdLedger predicts containerd's store, which keeps free ids in the order of their decimal
// digits, and leaves the id of a replaced device in its state.
func containerdLedger() *ledger {
	return &ledger{
		earlier: func(a, b uint32) bool { return strconv.Itoa(int(a)) < strconv.Itoa(int(b)) },
		left:    func(state int) int { return state },
		states:  map[uint32]int{},
	}
}

// ourLedger predicts this module's store: the lowest number first, and the id of a replaced device
// is faulty.
func ourLedger() *ledger {
	return &ledger{
		earlier: func(a, b uint32) bool { return a < b },
		left:    func(int) int { return idFaulty },
		states:  map[uint32]int{},
	}
}

// take returns the id that the next device gets.
func (l *ledger) take() uint32 {
	var best uint32
	for id, state := range l.states {
		if state == idFree && (best == 0 || l.earlier(id, best)) {
			best = id
		}
	}
	if best == 0 {
		l.last++
		best = l.last
	}
	l.states[best] = idTaken
	return best
}

// replace changes the id of a faulty device that is added again.
func (l *ledger) replace(id uint32) { l.states[id] = l.left(l.states[id]) }

// difference describes how the ledger and the states of a store's ids differ, or returns "".
func (l *ledger) difference(states map[uint32]int, last uint32) string {
	if last != l.last {
		return fmt.Sprintf("the last id is %d, want %d", last, l.last)
	}
	for id := uint32(1); id <= last; id++ {
		if got, known := states[id]; !known || got != l.states[id] {
			return fmt.Sprintf("id %d is in state %d (known: %v), want %d", id, got, known, l.states[id])
		}
	}
	if len(states) != int(last) {
		return fmt.Sprintf("%d ids have a state, and the last one is %d", len(states), last)
	}
	return ""
}
