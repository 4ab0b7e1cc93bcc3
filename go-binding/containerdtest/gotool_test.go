package containerdtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
)

// settings of the go command. The caller's settings for C would make the go command compile all of
// containerd again; forLibrary does what they are for.
var settings = []string{"GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_CFLAGS="}

// forLibrary returns a build flag that changes with the C header, so that the go command compiles
// again what includes it: its cache ignores files outside of packages. The compiler ignores the
// value.
func forLibrary(t *testing.T) string {
	t.Helper()
	header := crc32.ChecksumIEEE(read(t, "../../include/pool_metadata.h"))
	return fmt.Sprintf("-gcflags=%s=-D=header-%08x", containerd.Module, header)
}

// goTool runs the go command in a directory, with additions to its environment, and returns its
// output.
func goTool(t *testing.T, dir string, environment []string, arguments ...string) string {
	t.Helper()
	output, err := tryGoTool(dir, environment, arguments...)
	if err != nil {
		t.Fatalf("go %s, in %s: %v\n%s", strings.Join(arguments, " "), dir, err, output)
	}
	return output
}

func tryGoTool(dir string, environment []string, arguments ...string) (string, error) {
	command := exec.Command("go", arguments...)
	command.Dir = dir
	command.Env = append(append(os.Environ(), settings...), environment...)
	command.Env = append(command.Env, "PWD="+dir)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if err != nil {
		return stderr.String() + stdout.String(), err
	}
	return stdout.String(), nil
}

// retried runs a command that may fetch modules, up to three times: the go command stops after
// one network failure.
func retried(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for _, pause := range []time.Duration{5 * time.Second, 20 * time.Second, 0} {
		if err = do(); err == nil {
			return
		}
		t.Log(err)
		time.Sleep(pause)
	}
	t.Fatal(err)
}

// fetch fetches the modules that some packages and their tests need.
func fetch(t *testing.T, dir, overlay string, packages ...string) {
	t.Helper()
	arguments := []string{"list", "-deps", "-test", `-f={{""}}`, "-overlay=" + overlay}
	retried(t, func() error {
		output, err := tryGoTool(dir, nil, append(arguments, packages...)...)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
}

// result is how a test of containerd ended: "pass", "skip" or "fail", and its output.
type result struct {
	action, output string
}

// runTests runs tests with -json and returns how each ended, by package and name.
func runTests(t *testing.T, dir string, arguments ...string) map[string]result {
	t.Helper()
	text, failed := tryGoTool(dir, nil, append([]string{"test", "-json"}, arguments...)...)
	results := map[string]result{}
	for line := range strings.Lines(text) {
		var event struct{ Action, Package, Test, Output string }
		if json.Unmarshal([]byte(line), &event) != nil {
			t.Log(line)
			continue
		}
		if event.Test == "" {
			if event.Action == "build-output" || event.Action == "output" && failed != nil {
				t.Log(event.Output)
			}
			continue
		}
		key := event.Package + "." + event.Test
		r := results[key]
		switch event.Action {
		case "pass", "skip", "fail":
			r.action = event.Action
		case "output":
			r.output += event.Output
		}
		results[key] = r
	}
	if failed != nil {
		t.Errorf("go test %s: %v", strings.Join(arguments, " "), failed)
	}
	return results
}
