package containerdtest

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
	"github.com/pool-metadata/pool-metadata/go-binding/containerdtest/scenario"
	"golang.org/x/mod/sumdb/dirhash"
)

var versions = flag.String("containerd", "",
	"versions of containerd, with commas in between, for TestSwap to use instead of those in go.mod")

const (
	module1 = "github.com/containerd/containerd"
	module2 = "github.com/containerd/containerd/v2"

	// metadataTest is the file with containerd's tests of its store, which look into that store.
	metadataTest = "metadata_test.go"
)

// TestSwap builds and tests containerd with our store, from the source that the module proxy
// serves.
func TestSwap(t *testing.T) {
	if *versions == "" {
		list := goTool(t, ".", nil, "list", "-m", "-f", "{{.Version}}", module1, module2)
		*versions = strings.Join(strings.Fields(list), ",")
	}
	for version := range strings.SplitSeq(*versions, ",") {
		t.Run(version, func(t *testing.T) { newSwap(t, version).test(t) })
	}
}

// swap is one version of containerd and the overlays for it.
type swap struct {
	version string
	// dir is always the same directory below target, so that the go command finds its builds in its
	// cache.
	dir string
	// real is the overlay of a packager, tests the one for the snapshotter's own tests, and day the
	// one for the scenarios; stock is the path of the one for the scenarios with containerd's store.
	real, tests, day *containerd.Overlay
	stock            string
}

func newSwap(t *testing.T, version string) *swap {
	dir, err := filepath.Abs(filepath.Join("..", "..", "target", "containerd", version))
	if err != nil {
		t.Fatal(err)
	}
	s := &swap{version: version, dir: dir}
	s.real = s.overlay(t, "build", containerd.Config{Source: version})
	if s.real.Version == "" || s.real.Revision == "" {
		t.Errorf("the version %q and the revision %q", s.real.Version, s.real.Revision)
	}
	s.tests = s.overlay(t, "test", containerd.Config{Source: s.real.Source, Tests: true})
	retried(t, func() (err error) {
		s.day, s.stock, err = scenario.Write(s.real, filepath.Join(dir, "scenario"), "..")
		return err
	})
	// Everything that the tests below build.
	fetch(t, s.real.Source, s.real.JSON, "./cmd/containerd", "./"+s.real.Package+"/plugin")
	fetch(t, s.tests.Source, s.tests.JSON, "./"+s.tests.Package+"/...")
	fetch(t, s.real.Source, s.day.JSON, "./"+s.real.Package)
	return s
}

func (s *swap) overlay(t *testing.T, name string, config containerd.Config) *containerd.Overlay {
	t.Helper()
	config.Out, config.Binding = filepath.Join(s.dir, name), ".."
	var overlay *containerd.Overlay
	retried(t, func() (err error) {
		overlay, err = containerd.Write(config)
		return err
	})
	return overlay
}

// testFiles returns the paths of the snapshotter's own tests.
func (s *swap) testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.real.Source, s.real.Package, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", s.real.Source, err)
	}
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *swap) test(t *testing.T) {
	t.Run("requirements", s.requirements)
	t.Run("tests", s.ownTests)
	t.Run("vet", s.vet)
	t.Run("build", s.build)
	t.Run("states", func(t *testing.T) {
		checkUseOfStates(t, filepath.Join(s.real.Source, s.real.Package))
	})
	t.Run("scenario", s.scenario)
	t.Run("flushes", s.flushes)
	// Last, so that it covers everything above.
	t.Run("unaltered", s.unaltered)
}

// unaltered compares the source with its checksum in Go's checksum database.
func (s *swap) unaltered(t *testing.T) {
	var module struct{ Path, Version, Sum string }
	text := goTool(t, t.TempDir(), nil, "mod", "download", "-json", s.real.Module+"@"+s.version)
	if err := json.Unmarshal([]byte(text), &module); err != nil {
		t.Fatal(err)
	}
	sum, err := dirhash.HashDir(s.real.Source, module.Path+"@"+module.Version, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	if sum != module.Sum {
		t.Errorf("the source has the checksum %s, and the module %s", sum, module.Sum)
	}
}

// requirements checks that the overlay changes no version that containerd requires.
func (s *swap) requirements(t *testing.T) {
	type requirement struct{ Path, Version string }
	list := func(file string) (all []requirement) {
		var parsed struct{ Require []requirement }
		text := goTool(t, ".", nil, "mod", "edit", "-json", file)
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			t.Fatal(err)
		}
		for _, r := range parsed.Require {
			if r.Path != containerd.Module {
				all = append(all, r)
			}
		}
		return all
	}
	theirs := list(filepath.Join(s.real.Source, "go.mod"))
	ours := list(filepath.Join(filepath.Dir(s.real.JSON), "go.mod"))
	for _, r := range ours {
		if !slices.Contains(theirs, r) {
			t.Errorf("the overlay has %s %s", r.Path, r.Version)
		}
	}
	if len(theirs) != len(ours) {
		t.Errorf("%d requirements, and %d with the overlay", len(theirs), len(ours))
	}
}

// declaredTests returns the names of the tests in a Go file.
func declaredTests(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declared := range file.Decls {
		if fn, ok := declared.(*ast.FuncDecl); ok && fn.Recv == nil &&
			strings.HasPrefix(fn.Name.Name, "Test") {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}

// ownTests runs the snapshotter's own tests: every test of the store has to pass, and of the others
// all but those that containerd itself skips because they need root and a device mapper.
func (s *swap) ownTests(t *testing.T) {
	results := runTests(t, s.tests.Source, "-race", "-count=1", forLibrary(t),
		"-overlay="+s.tests.JSON, "./"+s.tests.Package+"/...")
	passed := 0
	for _, file := range s.testFiles(t) {
		for _, name := range declaredTests(t, file) {
			r := results[s.tests.Module+"/"+s.tests.Package+"."+name]
			needsRoot := strings.Contains(r.output, "skipping test that requires root")
			switch {
			case r.action == "pass":
				passed++
			case r.action == "skip" && needsRoot && filepath.Base(file) != metadataTest:
				t.Logf("%s needs root", name)
			default:
				t.Errorf("%s of %s: %q\n%s", name, filepath.Base(file), r.action, r.output)
			}
		}
	}
	file := filepath.Join(s.tests.Source, s.tests.Package, metadataTest)
	if wanted := len(declaredTests(t, file)); wanted == 0 || passed < wanted {
		t.Errorf("%d tests passed, and %s alone has %d", passed, metadataTest, wanted)
	}
	t.Logf("%d of the snapshotter's tests pass", passed)
}

// vet runs go vet on the command with the real overlay, and on the package with its tests.
func (s *swap) vet(t *testing.T) {
	goTool(t, s.real.Source, nil, "vet", forLibrary(t), "-overlay="+s.real.JSON, "./cmd/containerd",
		"./"+s.real.Package+"/plugin")
	goTool(t, s.tests.Source, nil, "vet", forLibrary(t), "-overlay="+s.tests.JSON,
		"./"+s.tests.Package+"/...")
}

// build builds containerd, starts it, and checks that it contains our store.
func (s *swap) build(t *testing.T) {
	path := filepath.Join(s.dir, "containerd")
	// The go command would not build it again if only the archive has changed.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	goTool(t, s.real.Source, nil, "build", forLibrary(t), "-overlay="+s.real.JSON, "-o", path,
		"./cmd/containerd")
	output, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(output), "github.com/containerd/containerd") {
		t.Errorf("--version: %v\n%s", err, output)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Main.Path != s.real.Module {
		t.Errorf("the program is %s", info.Main.Path)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "pm_open" }) {
		t.Error("the library is not in the program")
	}
}

// scenario runs the snapshotter on a fake device mapper, with containerd's store and with ours, and
// compares the transcripts.
func (s *swap) scenario(t *testing.T) {
	theirs, ours := s.transcript(t, s.stock), s.transcript(t, s.day.JSON)
	theirLines, ourLines := strings.Split(theirs, "\n"), strings.Split(ours, "\n")
	for i := range min(len(theirLines), len(ourLines)) {
		if theirLines[i] != ourLines[i] {
			t.Fatalf("line %d with containerd's store:\n%s\nwith ours:\n%s", i+1, theirLines[i], ourLines[i])
		}
	}
	if len(theirLines) != len(ourLines) {
		t.Errorf("%d lines with containerd's store, %d with ours", len(theirLines), len(ourLines))
	}
	// The scenario must have reached these events.
	for _, part := range []string{"State:Faulty", "message pool 0 create_snap 7 2", "delete",
		"== reset: <nil>"} {
		if !strings.Contains(ours, part) {
			t.Errorf("%q is not in the transcript:\n%s", part, ours)
		}
	}
}

// play runs one of the scenarios, with an overlay and in an environment.
func (s *swap) play(t *testing.T, name, overlay string, environment ...string) {
	t.Helper()
	pool, err := scenario.FakePool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	goTool(t, s.real.Source, append(pool, environment...), "test", "-count=1", forLibrary(t),
		"-overlay="+overlay, "-run=^"+name+"$", "./"+s.real.Package)
}

func (s *swap) transcript(t *testing.T, overlay string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "transcript")
	s.play(t, "TestScenario", overlay, "TRANSCRIPT="+path)
	return string(read(t, path))
}
