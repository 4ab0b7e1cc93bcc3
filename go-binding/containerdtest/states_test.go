package containerdtest

import (
	"go/ast"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// usesOfStates is what the snapshotter's functions do with devices and their records, in the order
// of the source (see outline). WithDeferredStates depends on all of it:
//
//   - ensureDeviceStates and Cleanup are the only functions that read a state;
//   - what is done inside of a change of state says what a power cut can find changed besides the
//     record: the pool's metadata, the device's blocks, or only what the kernel has of the device;
//   - a function that suspends a device also resumes it before it returns without an error;
//   - one that deletes a device in the pool also removes its record;
//   - no record is changed otherwise, but for the states Unknown and Removed.
var usesOfStates = map[string]string{
	"NewPoolDevice": "NewPoolMetadata poolDevice.ensureDeviceStates return nil",
	"PoolDevice.ensureDeviceStates": "p.WalkDevices " +
		"switch { case Suspended Resumed Deactivated Removed Faulty: " +
		"case Activated: append activatedDevices default: append faultyDevices } return nil " +
		"range activatedDevices { p.IsActivated p.activateDevice } " +
		"range faultyDevices { p.metadata.MarkFaulty }",
	"PoolDevice.transition": "p.metadata.UpdateDevice State = tryingState return nil " +
		"p.metadata.UpdateDevice State = successState return nil",

	"PoolDevice.createDevice":   "Creating -> Created { dmsetup.CreateDevice } return nil",
	"PoolDevice.createSnapshot": "Creating -> Created { dmsetup.CreateSnapshot } return nil",
	"PoolDevice.activateDevice": "Activating -> Activated { dmsetup.ActivateDevice } return nil",
	"PoolDevice.SuspendDevice":  "Suspending -> Suspended { dmsetup.SuspendDevice } return nil",
	"PoolDevice.ResumeDevice":   "Resuming -> Resumed { dmsetup.ResumeDevice } return nil",
	"PoolDevice.DeactivateDevice": "p.IsLoaded return nil " +
		"Deactivating -> Deactivated { dmsetup.DiscardBlocks dmsetup.RemoveDevice return nil } " +
		"return nil",
	"PoolDevice.deleteDevice": "Removing -> Removed { dmsetup.DeleteDevice return nil } return nil",

	"PoolDevice.CreateThinDevice": "State: Unknown " +
		"defer { p.rollbackActivate p.metadata.MarkFaulty } " +
		"p.metadata.AddDevice p.createDevice p.activateDevice return nil",
	"PoolDevice.CreateSnapshotDevice": "p.metadata.GetDevice State: Unknown " +
		"defer { p.rollbackActivate p.metadata.MarkFaulty } " +
		"p.IsLoaded p.SuspendDevice defer { p.ResumeDevice } " +
		"p.metadata.AddDevice p.createSnapshot p.activateDevice return nil",
	"PoolDevice.rollbackActivate": "p.deleteDevice p.metadata.MarkFaulty p.RemoveDevice",
	"PoolDevice.RemoveDevice": "p.metadata.GetDevice p.DeactivateDevice p.deleteDevice " +
		"p.metadata.RemoveDevice return nil",
	"PoolDevice.MarkDeviceState": "p.metadata.ChangeDeviceState",
	"PoolDevice.WalkDevices":     "p.metadata.WalkDevices",
	"PoolDevice.Close":           "p.metadata.Close",

	"Snapshotter.createSnapshot": "s.pool.CreateThinDevice s.pool.RemoveDevice " +
		"s.pool.CreateSnapshotDevice return nil",
	"Snapshotter.Commit": "s.pool.SuspendDevice s.pool.ResumeDevice s.pool.DeactivateDevice",
	"Snapshotter.removeDevice": "s.pool.RemoveDevice s.pool.MarkDeviceState Removed " +
		"return nil",
	"Snapshotter.Cleanup": "return nil s.pool.WalkDevices State == Removed " +
		"append removedDevices return nil range removedDevices { s.pool.RemoveDevice }",

	// For tests and benchmarks.
	"Snapshotter.ResetPool": "s.pool.metadata.GetDeviceNames range names { s.pool.RemoveDevice }",
	"PoolDevice.RemovePool": "p.metadata.GetDeviceNames " +
		"range deviceNames { p.DeactivateDevice } dmsetup.RemoveDevice",
}

// dmsetupMessages are the functions that change the pool's own metadata.
var dmsetupMessages = []string{"CreateDevice", "CreateSnapshot", "DeleteDevice"}

// checkUseOfStates compares the snapshotter in a directory with what WithDeferredStates assumes of
// it.
func checkUseOfStates(t *testing.T, dir string) {
	found := outlines(t, dir)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if want := usesOfStates[name]; found[name] != want {
			t.Errorf("%s does\n%s\nand not\n%s", name, found[name], want)
		}
	}
	for name := range usesOfStates {
		if found[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	var messages []string
	for _, fn := range functions(t, filepath.Join(dir, "dmsetup")) {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Value == `"message"` {
				messages = append(messages, fn.Name.Name)
			}
			return true
		})
	}
	if slices.Sort(messages); !slices.Equal(messages, dmsetupMessages) {
		t.Errorf("%q send messages to the pool, and not %q", messages, dmsetupMessages)
	}
}

// TestUseOfStates checks the versions in go.mod; TestSwap also checks those that it is given.
func TestUseOfStates(t *testing.T) {
	list := goTool(t, ".", nil, "list", "-m", "-f", "{{.Version}} {{.Dir}}", module1, module2)
	for line := range strings.Lines(list) {
		version, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		t.Run(version, func(t *testing.T) {
			pkg := "snapshots/devmapper"
			if !strings.HasPrefix(version, "v1.") {
				pkg = "plugins/" + pkg
			}
			checkUseOfStates(t, filepath.Join(dir, pkg))
		})
	}
}
