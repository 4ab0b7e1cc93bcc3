// Package linktest builds a program with the Go package in every way that it can be linked, and
// runs it.
package linktest

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build builds the program and returns its path.
func build(t *testing.T, env []string, args ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	arguments := append(append([]string{"build", "-o", program}, args...), "./program")
	cmd := exec.Command("go", arguments...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return program
}

// run runs the program on a new store.
func run(t *testing.T, program string, env ...string) {
	t.Helper()
	cmd := exec.Command(program, filepath.Join(t.TempDir(), "metadata.db"))
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "linked 1\n" {
		t.Errorf("it ended with %v and said: %s", err, out)
	}
}

// needs returns the shared libraries that the program needs, and whether it is fully static.
func needs(t *testing.T, program string) (libraries []string, static bool) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err = file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	loader := slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_INTERP
	})
	return libraries, !loader
}

const soname = "libpool_metadata.so.0"

// In a checkout, the program contains the library.
func TestCheckout(t *testing.T) {
	program := build(t, nil)
	if libraries, _ := needs(t, program); slices.Contains(libraries, soname) {
		t.Errorf("the program needs %v", libraries)
	}
	run(t, program)
}

// As containerd's release tarballs are built.
func TestFullyStatic(t *testing.T) {
	program := build(t, nil, "-tags", "osusergo,netgo,static_build", "-ldflags",
		`-extldflags "-static"`)
	if libraries, static := needs(t, program); !static || len(libraries) != 0 {
		t.Errorf("the program needs %v", libraries)
	}
	run(t, program)
}

// install installs the library in a directory, and returns that and the environment to find the
// library there.
func install(t *testing.T) (string, []string) {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "installed")
	cmd := exec.Command("scripts/fresh-make.sh", "install", "PREFIX="+prefix)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return prefix, []string{
		"PKG_CONFIG_PATH=" + filepath.Join(prefix, "lib/pkgconfig"),
		// Go's build cache ignores what pkg-config prints: without this the last run's library
		// would be linked.
		"CGO_CPPFLAGS=-I" + filepath.Join(prefix, "include"),
	}
}

func TestInstalled(t *testing.T) {
	prefix, env := install(t)
	path := "LD_LIBRARY_PATH=" + filepath.Join(prefix, "lib")
	shared := build(t, env, "-tags", "pm_pkgconfig")
	if libraries, _ := needs(t, shared); !slices.Contains(libraries, soname) {
		t.Errorf("the program needs %v, and not %s", libraries, soname)
	}
	run(t, shared, path)
	t.Run("other version", func(t *testing.T) { refusesAnotherABI(t, shared, path) })

	static := build(t, env, "-tags", "pm_pkgconfig,static_build", "-ldflags", `-extldflags "-static"`)
	if libraries, static := needs(t, static); !static {
		t.Errorf("the program needs %v", libraries)
	}
	// It must run without the installation.
	if err := os.Rename(prefix, prefix+".gone"); err != nil {
		t.Fatal(err)
	}
	run(t, static)
}

// refusesAnotherABI runs the program with a library that reports another version of the ABI.
func refusesAnotherABI(t *testing.T, program, path string) {
	dir := t.TempDir()
	source, library := filepath.Join(dir, "other.c"), filepath.Join(dir, "other.so")
	if err := os.WriteFile(source, []byte("unsigned pm_abi_version(void) { return 99; }\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library,
		source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, filepath.Join(dir, "metadata.db"))
	cmd.Env = append(os.Environ(), path, "LD_PRELOAD="+library)
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), "has version 99") {
		t.Errorf("it ended with %v and said: %s", err, out)
	}
}

// Where the package cannot be built, one line says why.
func TestBuildFailsWithOneLineReason(t *testing.T) {
	for env, want := range map[string]string{
		"CGO_ENABLED=0": "build_with_CGO_ENABLED_1",
		"GOOS=freebsd":  "exist_on_Linux_only",
	} {
		cmd := exec.Command("go", "build", "github.com/pool-metadata/pool-metadata/go-binding")
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput()
		// The compiler puts the package's name on a line of its own before the messages.
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		if err == nil || len(lines) != 2 || !bytes.Contains(lines[1], []byte(want)) {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
}

// In a vendor folder and in the module cache, the package is without the C library. A checkout in
// which nobody has run make has the header and no library.
func TestPackageWithoutTheLibrarySaysWhatToDo(t *testing.T) {
	top := t.TempDir()
	if err := os.CopyFS(filepath.Join(top, "go-binding"), os.DirFS("..")); err != nil {
		t.Fatal(err)
	}
	fails := func(want string) {
		t.Helper()
		cmd := exec.Command("go", "build", "-mod=mod", ".")
		cmd.Dir = filepath.Join(top, "go-binding")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, and not %q:\n%s", err, want, out)
		}
	}
	fails("use -tags pm_pkgconfig")
	if err := os.CopyFS(filepath.Join(top, "include"), os.DirFS("../../include")); err != nil {
		t.Fatal(err)
	}
	fails("run make at the top of the checkout")
}
