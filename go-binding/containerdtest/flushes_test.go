package containerdtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestCycle of the snapshotter's package, step by step: how often our store flushes its file.
var flushesOfCycle = []struct {
	step             string
	deferred, direct int
}{
	{"prepare", 2, 5},
	{"commit", 2, 6},
	{"prepare a child", 2, 5},
	{"commit the child", 2, 6},
	{"view", 2, 5},
	{"remove the view", 4, 5},
	{"remove the child", 2, 3},
	{"remove", 2, 3},
	{"prepare again", 2, 5},
	{"commit again", 2, 6},
	{"fail to create", 2, 4},
	{"fail to activate", 2, 10},
	{"prepare on an active layer", 3, 9},
	{"remove the container", 4, 5},
	{"remove the active layer", 3, 5},
	{"prepare before the restart", 2, 5},
	{"prepare another", 2, 5},
	{"commit after the restart", 2, 6},
	{"view the layer", 2, 5},
	{"mark the view", 1, 1},
	{"mark the layer", 1, 1},
	{"clean up", 5, 8},
}

// flushes counts the flushes of our store, with deferred states and without.
func (s *swap) flushes(t *testing.T) {
	for _, setting := range []string{"", "on", "off"} {
		t.Run("PM_DEFERRED_STATES="+setting, func(t *testing.T) {
			dir := t.TempDir()
			said := filepath.Join(dir, "said")
			s.play(t, "TestCycle", s.day.JSON, "ROOT="+dir, "SAID="+said,
				"PM_DEFERRED_STATES="+setting)
			var want strings.Builder
			for _, row := range flushesOfCycle {
				flushes := row.deferred
				if setting == "off" {
					flushes = row.direct
				}
				fmt.Fprintf(&want, "done %s: %d flushes\n", row.step, flushes)
			}
			var got strings.Builder
			for line := range strings.Lines(string(read(t, said))) {
				words, ok := strings.CutPrefix(line, "done ")
				if ok && !strings.HasPrefix(words, "start") && !strings.HasPrefix(words, "close") {
					got.WriteString(line)
				}
			}
			if got.String() != want.String() {
				t.Errorf("the store flushed\n%sand not\n%s", &got, &want)
			}
		})
	}
}
