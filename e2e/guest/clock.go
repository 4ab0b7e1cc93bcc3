package guest

import (
	"sync"
	"time"
)

// ticks reads the processor's time stamp counter.
func ticks() uint64

// clockRate measures how many times in a millisecond the time stamp counter of the host, which is
// also the guest's, ticks.
var clockRate = sync.OnceValue(func() uint64 {
	start, first := time.Now(), ticks()
	time.Sleep(200 * time.Millisecond)
	last, took := ticks(), time.Since(start)
	return (last - first) * uint64(time.Millisecond) / uint64(took)
})
