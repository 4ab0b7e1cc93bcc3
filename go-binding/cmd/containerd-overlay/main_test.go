package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
)

// writeSource makes a tree that has what the command looks for.
func writeSource(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "snapshots", "devmapper"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"go.mod":                             "module github.com/containerd/containerd\n\ngo 1.24.0\n",
		"go.sum":                             "",
		"snapshots/devmapper/metadata.go":    "package devmapper\n",
		"snapshots/devmapper/device_info.go": "package devmapper\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRun(t *testing.T) {
	source, out := writeSource(t), t.TempDir()
	var stdout, stderr bytes.Buffer
	if err := run([]string{"-containerd", source, "-out", out}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(out, "overlay.json")
	if stdout.String() != overlay+"\n" {
		t.Errorf("standard output: %q", stdout.String())
	}
	for _, want := range []string{"cd " + source, "GOFLAGS='-overlay=" + overlay + "'"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not in what is said:\n%s", want, stderr.String())
		}
	}
	text, err := os.ReadFile(overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"metadata.go", "device_info.go", "go.mod", "go.sum"} {
		if !bytes.Contains(text, []byte(filepath.Join(out, name))) {
			t.Errorf("%s is not in the overlay:\n%s", name, text)
		}
	}
}

func TestRunFails(t *testing.T) {
	for want, arguments := range map[string][]string{
		"which containerd": {},
		"what is \"more\"": {"-containerd", writeSource(t), "more"},
		"not defined":      {"-nonsense"},
	} {
		arguments = append([]string{"-out", t.TempDir()}, arguments...)
		var stdout, stderr bytes.Buffer
		err := run(arguments, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%q: %v, standard output %q, want %q", arguments, err, stdout.String(), want)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	err := run([]string{"-help"}, &stdout, &stderr)
	if err != nil || stdout.Len() > 0 || !strings.Contains(stderr.String(), "-containerd source") {
		t.Errorf("%v\n%s", err, &stderr)
	}
}

// A shell runs the printed commands as they are, whatever the names of the directories.
func TestCommandsForOddDirectories(t *testing.T) {
	source := filepath.Join(t.TempDir(), "the source, & 'more'")
	if err := os.Rename(writeSource(t), source); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out & out")
	var stdout, stderr bytes.Buffer
	if err := run([]string{"-containerd", source, "-out", out}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(stderr.String(), "\n")
	// The build command, with a package that exists.
	build := strings.Replace(lines[1], "build", "list", 1)
	build, _, _ = strings.Cut(build, " -o /tmp/containerd")
	change, _, _ := strings.Cut(build, "&&")
	variables, _, _ := strings.Cut(lines[3], " make ")
	variable := change + "&&" + variables + " go list"
	for _, command := range []string{build, variable} {
		script := command + " -f '{{.Imports}}' ./snapshots/devmapper"
		got, err := exec.Command("sh", "-c", script).CombinedOutput()
		if err != nil || !strings.Contains(string(got), "pool-metadata/go-binding") {
			t.Errorf("%s: %v\n%s", script, err, got)
		}
	}
}

// A source from the proxy has no git tree, from which containerd's build takes the version that
// kubelet asks for.
func TestBuildOfAVersionHasTheVersion(t *testing.T) {
	var said bytes.Buffer
	explain(&said, &containerd.Overlay{
		JSON: "/o/overlay.json", Source: "/o/source", Module: "github.com/containerd/containerd/v2",
		Version: "v2.4.2", Revision: "abc",
	}, false)
	for _, want := range []string{
		"-ldflags '-X github.com/containerd/containerd/v2/version.Version=v2.4.2 " +
			"-X github.com/containerd/containerd/v2/version.Revision=abc' -o",
		"make VERSION=v2.4.2 REVISION=abc bin/containerd\n",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in what is said:\n%s", want, said.String())
		}
	}
}

func TestOverlayForTests(t *testing.T) {
	source, out := writeSource(t), t.TempDir()
	var stdout, stderr bytes.Buffer
	arguments := []string{"-containerd", source, "-out", out, "-tests"}
	if err := run(arguments, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"go test -overlay=", "go vet -overlay=", "./snapshots/devmapper/...",
	} {
		if !strings.Contains(stderr.String(), want) || strings.Contains(stderr.String(), "go build") {
			t.Errorf("%q is not in what is said:\n%s", want, stderr.String())
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "metadata.go"))
	if err != nil || !bytes.Contains(text, []byte("func (e exported) View(")) {
		t.Errorf("%v: it is not the store for tests", err)
	}
}
