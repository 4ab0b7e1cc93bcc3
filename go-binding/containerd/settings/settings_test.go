package settings

import (
	"strings"
	"testing"
)

func TestDeferredStatesAreOnUnlessTurnedOff(t *testing.T) {
	for value, options := range map[string]int{"": 1, "on": 1, "off": 0} {
		t.Setenv(DeferredStates, value)
		if got, err := Options(); err != nil || len(got) != options {
			t.Errorf("%q: %d options, %v", value, len(got), err)
		}
	}
}

func TestUnknownSettingOfDeferredStatesIsRefused(t *testing.T) {
	for _, value := range []string{"no", "OFF", "0", " "} {
		t.Setenv(DeferredStates, value)
		got, err := Options()
		if err == nil || got != nil || !strings.Contains(err.Error(), DeferredStates) {
			t.Errorf("%q: %d options, %v", value, len(got), err)
		}
	}
}
