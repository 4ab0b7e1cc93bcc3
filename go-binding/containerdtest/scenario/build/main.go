// The command build makes the programs whose work is recorded for tests of power cuts: the
// snapshotter of each supported containerd, with this store and with its own, on a fake device
// mapper.
//
//	go run ./scenario/build -out DIR
//
// It is run in the directory containerdtest. For each version it makes DIR/VERSION-ours and
// DIR/VERSION-stock.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
	"github.com/pool-metadata/pool-metadata/go-binding/containerdtest/scenario"
)

func main() {
	out := flag.String("out", "", "the `directory` for the programs")
	flag.Parse()
	if err := build(*out); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func build(out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	list, err := goCommand(".", "list", "-m", "-f", "{{.Version}}",
		"github.com/containerd/containerd", "github.com/containerd/containerd/v2")
	if err != nil {
		return err
	}
	for _, version := range strings.Fields(list) {
		if err := buildVersion(out, version); err != nil {
			return err
		}
	}
	return nil
}

func buildVersion(out, version string) error {
	dir := filepath.Join(out, version)
	real, err := containerd.Write(containerd.Config{Source: version, Out: dir, Binding: ".."})
	if err != nil {
		return err
	}
	ours, stock, err := scenario.Write(real, filepath.Join(dir, "scenario"), "..")
	if err != nil {
		return err
	}
	for name, overlay := range map[string]string{"ours": ours.JSON, "stock": stock} {
		program := filepath.Join(out, version+"-"+name)
		// The go command would not link it again if only the archive has changed.
		if err := os.RemoveAll(program); err != nil {
			return err
		}
		_, err := goCommand(real.Source, "test", "-c", "-overlay="+overlay, "-o", program,
			"./"+real.Package)
		if err != nil {
			return err
		}
	}
	return nil
}

func goCommand(dir string, arguments ...string) (string, error) {
	command := exec.Command("go", arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), "PWD="+dir, "GOWORK=off")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("go %s, in %s: %w", strings.Join(arguments, " "), dir, err)
	}
	return string(output), err
}
