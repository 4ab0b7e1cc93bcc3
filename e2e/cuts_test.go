package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/e2e/build"
)

// TestPowerCutsLoseNothingAndJamNothing restarts machines in the middle of work, without a sync,
// and boots them again, many times in a row. What was acknowledged has to be there, and with this
// store the first new work after each start has to succeed. E2E_ROUNDS says how many times.
func TestPowerCutsLoseNothingAndJamNothing(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	if text := os.Getenv("E2E_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			t.Fatalf("E2E_ROUNDS is %q, and must be a number from 1 on", text)
		}
	}
	versions, err := build.Versions()
	if err != nil {
		t.Fatal(err)
	}
	containerd, err := build.New(versions[len(versions)-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) { cutPower(t, containerd, s, rounds) })
	}
}

// cutPower runs the rounds in one setup. The one without recovery ends at its first jam, which is
// reported and no failure.
func cutPower(t *testing.T, containerd *build.Containerd, s setup, rounds int) {
	m := machine(t, daemonImage(t, containerd, s, `/e2e/bin/cases -root /data "$@"`), 2048, 16)
	recovered, done := 0, 0
	for round := 1; round <= rounds+1; round++ {
		m.Arguments = []string{fmt.Sprintf("-cut=%d", round)}
		if round > rounds {
			m.Arguments = append(m.Arguments, "-last")
		}
		result, err := m.Boot(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		recovered += strings.Count(result.Console, "cut: took back a device")
		done += strings.Count(result.Console, "cut: new work is possible")
		if !result.Ended {
			if round > rounds {
				t.Fatalf("the last round restarted the machine\n%s", result.Tail())
			}
			continue
		}
		text := result.Files["cases"]
		if strings.TrimSpace(result.Files["exit"]) == "0" && round > rounds {
			t.Logf("%s%d devices of interrupted prepares were taken back", text, recovered)
			if done != rounds+1 {
				t.Errorf("only %d of %d rounds did work", done, rounds+1)
			}
			return
		}
		if !s.recovers && strings.Contains(text, "jammed:") {
			t.Logf("round %d of the stock store: %s", round, text)
			return
		}
		t.Fatalf("round %d: %s\n%s\n%s", round, text, result.Files["containerd.log"],
			result.Files["proxy.log"])
	}
}
