package containerdtest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
)

// TestVendor builds containerd as a distribution does: from vendor/ and with the installed library,
// by the commands in docs/containerd.md, but fully static. The program then runs, and holds no path
// of this machine. scripts/test-containerd.sh has installed the library.
func TestVendor(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	library, err := exec.Command("pkg-config", "--cflags", "--libs", "pool-metadata").Output()
	if err != nil {
		t.Fatalf("pkg-config does not find pool-metadata (%v): use make test-containerd", err)
	}
	version := strings.TrimSpace(goTool(t, ".", nil, "list", "-m", "-f", "{{.Version}}", module2))
	source := copySource(t, module2+"@"+version,
		filepath.Join(root, "target", "containerd", version, "vendored"))
	prepare, build := vendorCommands(t, filepath.Join(root, "docs", "containerd.md"))
	environment := []string{"PM=" + root, "DIR=plugins/snapshots/devmapper", "STATIC=1",
		"GOWORK=off", "CGO_CFLAGS=", "VERSION=" + version, "REVISION=" + version}
	retried(t, func() error { return shell(source, environment, prepare) })
	// The go command's cache does not notice a changed C header, nor a library elsewhere: with
	// -trimpath, a build in another checkout would link the first one's, or not find it.
	seen := append(read(t, filepath.Join(root, "include", "pool_metadata.h")), library...)
	binding := filepath.Join(source, "vendor", filepath.FromSlash(containerd.Module))
	note := fmt.Appendf(read(t, filepath.Join(binding, "native.h")), "/* %08x */\n",
		crc32.ChecksumIEEE(seen))
	if err := os.WriteFile(filepath.Join(binding, "native.h"), note, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := shell(source, environment, build); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(source, "bin", "containerd")
	output, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(output)), version+" "+version) {
		t.Errorf("--version: %v\n%s", err, output)
	}
	checkStatic(t, program)
	checkPaths(t, program, root)
}

// copySource puts a copy of a module's source, which can be written to, into dir.
func copySource(t *testing.T, module, dir string) string {
	t.Helper()
	text := goTool(t, ".", nil, "list", "-m", "-f", "{{.Dir}}", strings.Split(module, "@")[0])
	from := strings.TrimSpace(text)
	if from == "" {
		t.Fatalf("%s is not in the module cache", module)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode()|0o200)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// vendorCommands returns the commands under "Without an overlay": those before the one that builds,
// and that one.
func vendorCommands(t *testing.T, document string) (prepare, build string) {
	t.Helper()
	_, text, _ := strings.Cut(string(read(t, document)), "\n## Without an overlay\n")
	_, text, _ = strings.Cut(text, "\n```sh\n")
	text, _, found := strings.Cut(text, "```\n")
	at := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	if !found || !strings.Contains(text[at:], "make ") {
		t.Fatalf("no commands under \"Without an overlay\" in %s", document)
	}
	return text[:at], text[at:]
}

func shell(dir string, environment []string, commands string) error {
	command := exec.Command("sh", "-euxc", commands)
	command.Dir = dir
	command.Env = append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

// checkStatic checks that a program contains the store, and loads no library.
func checkStatic(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the program has a part of type %s: it is not static", part.Type)
		}
	}
	if !bytes.Contains(read(t, program), []byte(containerd.Module+".NewPoolMetadata")) {
		t.Error("the store is not in the program")
	}
}

// checkPaths checks that a program holds no path of this machine.
func checkPaths(t *testing.T, program, root string) {
	t.Helper()
	text := read(t, program)
	// Not the home directory alone: root's is a part of other paths.
	for _, path := range append(strings.Fields(goTool(t, ".", nil, "env", "GOROOT", "GOPATH",
		"GOMODCACHE")), root) {
		if at := bytes.Index(text, []byte(path+"/")); at >= 0 {
			t.Errorf("%s holds a path of this machine: %q", program, text[at:min(at+100, len(text))])
		}
	}
	// The library was built so that its paths are others. Without them, this test finds nothing.
	if !bytes.Contains(text, []byte("/cargo/registry")) {
		t.Error("no path was rewritten in the library: it is not that of REPRODUCIBLE=1")
	}
}
