package settings

import (
	"strings"
	"testing"
)

func TestDeferredStatesAreOnUnlessTurnedOff(t *testing.T) {
	for value, options := range map[string]int{"": 2, "on": 2, "off": 0} {
		t.Setenv(DeferredStates, value)
		if got, err := Options(); err != nil || len(got) != options {
			t.Errorf("%q: %d options, %v", value, len(got), err)
		}
	}
}

func TestComparisonIsOnUnlessTurnedOff(t *testing.T) {
	for value, want := range map[string]bool{"": true, "on": true, "off": false} {
		t.Setenv(ComparePool, value)
		if got, err := Compare(); err != nil || got != want {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
}

func TestUnknownSettingIsRefused(t *testing.T) {
	for _, value := range []string{"no", "OFF", "0", " "} {
		t.Setenv(DeferredStates, value)
		got, err := Options()
		if err == nil || got != nil || !strings.Contains(err.Error(), DeferredStates) {
			t.Errorf("%q: %d options, %v", value, len(got), err)
		}
		t.Setenv(ComparePool, value)
		if compare, err := Compare(); err == nil || compare ||
			!strings.Contains(err.Error(), ComparePool) {
			t.Errorf("%q: %v, %v", value, compare, err)
		}
	}
}
