package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/e2e/build"
	"github.com/pool-metadata/pool-metadata/e2e/guest"
)

// makePool is the start of a script: it makes a file system for everything that is kept, and the
// thin-pool on loop devices of files in it. After a restart both are there again.
const makePool = `set -eu
if ! mount -t ext4 /dev/vdb /data 2>/dev/null; then
    mkfs.ext4 -q /dev/vdb
    mount -t ext4 /dev/vdb /data
    truncate -s 64M /data/pool.meta
    truncate -s 1G /data/pool.data
fi
data=$(losetup --find --show /data/pool.data)
meta=$(losetup --find --show /data/pool.meta)
dmsetup create pool --table "0 2097152 thin-pool $meta $data 128 0 1 skip_block_zeroing"
mkdir -p /run/containerd /run/pool-metadata
`

// A setup is a way to run the snapshotter: a store, in containerd or in the proxy.
type setup struct {
	name  string
	store build.Store
	proxy bool
	// recovers says that what an interrupted prepare leaves is taken back at the next start.
	recovers bool
}

var setups = []setup{
	{"stock", build.Stock, false, false},
	{"swap", build.Swap, false, true},
	{"proxy", build.Stock, true, true},
}

// TestLifeOnThinPool takes the snapshotter through the same cases in each setup; see cases/. With
// names of cases in E2E_CASES, with commas in between, these alone are run.
func TestLifeOnThinPool(t *testing.T) {
	versions, err := build.Versions()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		versions = versions[len(versions)-1:]
	}
	for _, version := range versions {
		containerd, err := build.New(version)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range setups {
			t.Run(version+"/"+s.name, func(t *testing.T) { life(t, containerd, s) })
		}
	}
}

var caseLine = regexp.MustCompile(`(?m)^(ok|failed) (\w+)`)

func life(t *testing.T, containerd *build.Containerd, s setup) {
	command := "/e2e/bin/cases -root /data"
	names := caseNames(t)
	if only := os.Getenv("E2E_CASES"); only != "" {
		command, names = command+" -only "+only, strings.Split(only, ",")
	}
	result := run(t, daemonImage(t, containerd, s, command), 2048)
	ended := map[string]string{}
	for _, match := range caseLine.FindAllStringSubmatch(result.Files["cases"], -1) {
		ended[match[2]] = match[1]
	}
	for _, name := range names {
		if ended[name] != "ok" {
			t.Errorf("%s: %q", name, ended[name])
		}
	}
	t.Logf("%s\n", result.Files["cases"])
	if t.Failed() {
		for _, name := range []string{"containerd.log", "proxy.log"} {
			text := result.Files[name]
			t.Logf("%s:\n%s", name, text[max(0, len(text)-10000):])
		}
	}
}

// caseNames returns the names of the cases, from their source: a case that does not run is missed.
func caseNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("cases", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`\n\t\{"(\w+)", \w+\},`).FindAllStringSubmatch(
		string(text), -1) {
		names = append(names, match[1])
	}
	if len(names) == 0 {
		t.Fatal("no cases in cases/main.go")
	}
	return names
}

// daemonImage returns an image with containerd, a proxy where the setup has one, and the program
// cases, which the command runs. What it prints is the file "cases" of the results.
func daemonImage(
	t *testing.T, containerd *build.Containerd, s setup, command string,
) *guest.Image {
	t.Helper()
	if s.proxy {
		command += " -proxy /e2e/bin/devmapper-snapshotter"
	}
	if s.recovers {
		command += " -recovers"
	}
	image, err := guest.NewImage(strings.Join([]string{
		makePool, "code=0\nexport PATH=/e2e/bin:$PATH",
		command + " >/results/cases 2>&1 || code=$?", "cat /results/cases", "exit $code\n",
	}, "\n"), "overlay")
	if err != nil {
		t.Fatal(err)
	}
	image.Directory("/data")
	programs := map[string]func() (string, error){
		"containerd": func() (string, error) { return containerd.Program(s.store, "containerd") },
		"containerd-shim-runc-v2": func() (string, error) {
			return containerd.Program(build.Stock, "containerd-shim-runc-v2")
		},
		"cases": build.Cases,
	}
	if s.recovers {
		programs["pmctl"] = build.Pmctl
	}
	if s.proxy {
		programs["devmapper-snapshotter"] = build.Proxy
	}
	for name, program := range programs {
		path, err := program()
		if err == nil {
			err = image.Program("/e2e/bin/"+name, path)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
	}
	return image
}
