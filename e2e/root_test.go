package e2e

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/pool-metadata/pool-metadata/e2e/build"
	"github.com/pool-metadata/pool-metadata/e2e/guest"
)

// layers is a test of containerd's that takes two minutes in an emulated guest: it mounts 128
// snapshots, each on the one before. A quick run leaves it out.
const layers = "128LayersMount"

// TestContainerdRootTestsPassWithSwappedStore runs the tests of containerd's snapshotter that need
// root and a device mapper. Every one that passes with containerd's own store has to pass with this
// one.
func TestContainerdRootTestsPassWithSwappedStore(t *testing.T) {
	versions, err := build.Versions()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		versions = versions[len(versions)-1:]
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			containerd, err := build.New(version)
			if err != nil {
				t.Fatal(err)
			}
			stock := rootTests(t, containerd, build.Stock)
			swap := rootTests(t, containerd, build.Swap)
			passed := 0
			for name, how := range stock {
				if how != "PASS" {
					continue
				}
				if passed++; swap[name] != "PASS" {
					t.Errorf("%s passes with containerd's store; with this one: %q", name, swap[name])
				}
			}
			// Fewer would mean that the guest lacks something and the tests are skipped.
			if passed < 55 {
				t.Errorf("only %d tests pass with containerd's store: %q", passed, stock)
			}
			t.Logf("%d of containerd's tests pass with both stores", passed)
		})
	}
}

var outcome = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// rootTests runs the tests with a store, and returns how each of them ended.
func rootTests(t *testing.T, containerd *build.Containerd, store build.Store) map[string]string {
	t.Helper()
	script := ""
	skip := ""
	if testing.Short() {
		skip = "-test.skip=/" + layers
	}
	programs := map[string]string{}
	for _, name := range []string{"", "dmsetup"} {
		program, err := containerd.Tests(store, name)
		if err != nil {
			t.Fatal(err)
		}
		programs["/e2e/tests"+name] = program
		script += fmt.Sprintf("cd /tmp && /e2e/tests%s -test.v -test.root %s >/results/tests%s 2>&1\n"+
			"echo $? >>/results/codes\n", name, skip, name)
	}
	image, err := guest.NewImage(script, "xfs")
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range programs {
		if err := image.Program(name, program); err != nil {
			t.Fatal(err)
		}
	}
	result := run(t, image)
	outcomes := map[string]string{}
	for name, text := range result.Files {
		for _, match := range outcome.FindAllStringSubmatch(text, -1) {
			outcomes[name+"/"+match[2]] = match[1]
			if match[1] == "FAIL" {
				t.Errorf("with the %s store: %s\n%s", store, match[2], text[max(0, len(text)-20000):])
			}
		}
	}
	if result.Files["codes"] != "0\n0\n" {
		t.Errorf("with the %s store the tests exit with %q", store, result.Files["codes"])
	}
	return outcomes
}
