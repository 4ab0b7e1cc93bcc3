package poolmetadata

import (
	"strings"
	"testing"
)

// deferrable has a line for each state that a device changes to, and the states from which that
// change is deferred.
const deferrable = `
Unknown:      Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Creating:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Created:      Unknown Creating Created Activating Suspending Resuming Deactivating Removing
Activating:   Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Suspending:   Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Suspended:    Suspending
Resuming:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Activated Suspended Resumed Deactivated
Deactivating: Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Suspended Resumed Deactivated
Removing:     Unknown Creating Created Activating Suspending Resuming Deactivating Removing
              Removed
Removed:      Removing
`

// isListed looks a change up in the list above.
func isListed(from, to DeviceState) bool {
	section := ""
	for line := range strings.Lines(deferrable) {
		words := strings.Fields(line)
		if len(words) > 0 && strings.HasSuffix(words[0], ":") {
			section, words = strings.TrimSuffix(words[0], ":"), words[1:]
		}
		for _, word := range words {
			if section == stateName(to) && word == stateName(from) {
				return true
			}
		}
	}
	return false
}

// stateName returns a state's name; String has none for Unknown.
func stateName(state DeviceState) string {
	if state == Unknown {
		return "Unknown"
	}
	return state.String()
}

func TestDeferredStatesAreThoseOfTheList(t *testing.T) {
	for from := Unknown; from <= Faulty; from++ {
		for to := Unknown; to <= Faulty; to++ {
			if isDeferrable(from, to) != isListed(from, to) {
				t.Errorf("from %v to %v: deferred %v", from, to, isDeferrable(from, to))
			}
		}
	}
}
