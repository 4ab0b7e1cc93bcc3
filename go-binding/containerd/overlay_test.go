package containerd

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source is the part of containerd that the overlay deals with: a store that does not work, and a
// program that uses it.
var source = map[string]string{
	"go.mod": "module github.com/containerd/containerd/v2\n\ngo 1.24.0\n",
	"go.sum": "",
	"plugins/snapshots/devmapper/metadata.go": `package devmapper

func NewPoolMetadata(string) (int, error) { panic("containerd's own store") }
`,
	"plugins/snapshots/devmapper/device_info.go": `package devmapper

const Activated, Faulty = "never", "ever"
`,
	"cmd/containerd/main.go": `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
)

func main() {
	store, err := devmapper.NewPoolMetadata(os.Args[1])
	if err != nil {
		panic(err)
	}
	var info = devmapper.DeviceInfo{Name: "a", State: devmapper.Activated}
	fmt.Println(store.AddDevice(context.Background(), &info), info, store.Close())
}
`,
}

// writeSource makes a tree of the files in source, some of them changed; those that are "-" are
// left out.
func writeSource(t *testing.T, changes map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range source {
		if changed, ok := changes[path]; ok {
			text = changed
		}
		if text == "-" {
			continue
		}
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOverlay(t *testing.T) {
	dir := writeSource(t, nil)
	overlay, err := Write(Config{Source: dir, Out: filepath.Join(t.TempDir(), "a", "b"),
		Binding: ".."})
	if err != nil {
		t.Fatal(err)
	}
	if overlay.Source != dir || overlay.Module != "github.com/containerd/containerd/v2" ||
		overlay.Vendored {
		t.Errorf("%+v", overlay)
	}
	program := filepath.Join(t.TempDir(), "containerd")
	if _, err := goCommand(dir, "build", "-overlay="+overlay.JSON, "-o", program,
		"./cmd/containerd"); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, filepath.Join(t.TempDir(), "pool.db"))
	// What a comparison says depends on the machine's tools, and whether it says it on its speed.
	command.Env = append(os.Environ(), "PM_COMPARE_POOL=off")
	output, err := command.CombinedOutput()
	if want := "<nil> {1 0 a  Activated } <nil>\n"; err != nil || string(output) != want {
		t.Errorf("%q, %v, want %q", output, err, want)
	}
	for path, want := range source {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s is now %q, %v", path, got, err)
		}
	}
}

func TestVendored(t *testing.T) {
	dir := writeSource(t, nil)
	if err := os.Mkdir(filepath.Join(dir, "vendor"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vendor", "modules.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	overlay, err := Write(Config{Source: dir, Out: t.TempDir(), Binding: ".."})
	if err != nil || !overlay.Vendored {
		t.Fatalf("%+v, %v", overlay, err)
	}
	program := filepath.Join(t.TempDir(), "containerd")
	if _, err := goCommand(dir, "build", "-mod=readonly", "-overlay="+overlay.JSON, "-o", program,
		"./cmd/containerd"); err != nil {
		t.Error(err)
	}
}

func TestFiles(t *testing.T) {
	dir, out := writeSource(t, nil), t.TempDir()
	files := map[string][]byte{
		"more.go":      []byte("package devmapper\n\nconst More = 1\n"),
		"metadata.go":  []byte("package devmapper\n\nfunc NewPoolMetadata() int { return More }\n"),
		"left_out.go":  nil,
		"more_test.go": []byte("package devmapper\n"),
	}
	overlay, err := Write(Config{Source: dir, Out: out, Binding: "..", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	output, err := goCommand(dir, "list", "-overlay="+overlay.JSON, "-f",
		"{{.GoFiles}} {{.TestGoFiles}}", "./"+overlay.Package)
	if want := "[device_info.go metadata.go more.go] [more_test.go]\n"; err != nil ||
		string(output) != want {
		t.Errorf("%s, %v, want %s", output, err, want)
	}
	for _, name := range []string{"../escape.go", "text.txt"} {
		_, err := Write(Config{Source: dir, Out: out, Binding: "..", Files: map[string][]byte{name: nil}})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	whole := writeSource(t, nil)
	for what, c := range map[string]struct {
		config Config
		want   string
	}{
		"nothing":    {Config{Binding: ".."}, "which containerd"},
		"no module":  {Config{Source: t.TempDir(), Binding: ".."}, "not the directory of a Go module"},
		"another":    {Config{Source: "..", Binding: ".."}, "not containerd"},
		"no binding": {Config{Source: whole, Binding: "./nowhere"}, "neither a directory nor a version"},
		"no version": {Config{Source: whole, Binding: "vague"}, "neither a directory nor a version"},
		"bad go.mod": {Config{Source: writeSource(t, map[string]string{"go.mod": "modul x"}),
			Binding: ".."}, "unknown directive"},
		"not a tag":   {Config{Source: "no-such-version", Binding: ".."}, "no-such-version"},
		"unwritable":  {Config{Source: whole, Binding: "..", Out: "/proc/nowhere"}, "/proc/nowhere"},
		"binding.mod": {Config{Source: whole, Binding: t.TempDir()}, "go.mod"},
	} {
		if c.config.Out == "" {
			c.config.Out = t.TempDir()
		}
		if _, err := Write(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	for _, missing := range []string{"metadata.go", "device_info.go"} {
		dir := writeSource(t, map[string]string{"plugins/snapshots/devmapper/" + missing: "-"})
		_, err := Write(Config{Source: dir, Out: t.TempDir(), Binding: ".."})
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// A directory with other files is refused, and files in it keep their contents.
func TestWriteRefusesForeignDirectory(t *testing.T) {
	dir, out := writeSource(t, nil), t.TempDir()
	mine := filepath.Join(out, "go.mod")
	if err := os.WriteFile(mine, []byte("module mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Write(Config{Source: dir, Out: out, Binding: ".."})
	if err == nil || !strings.Contains(err.Error(), out) || !strings.Contains(err.Error(), "go.mod") {
		t.Error(err)
	}
	if text, err := os.ReadFile(mine); err != nil || string(text) != "module mine\n" {
		t.Errorf("go.mod is now %q, %v", text, err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Write(Config{Source: dir, Out: out, Binding: ".."}); err != nil {
			t.Error(err)
		}
	}
}
