package containerd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// goCommand runs the go command in a directory and returns what it printed. What it complained
// about becomes the error.
//
// A workspace and GOFLAGS of the caller's would name other go.mod files than the ones meant here.
func goCommand(dir string, arguments ...string) ([]byte, error) {
	command := exec.Command("go", arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), "PWD="+dir, "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s, in %s: %w\n%s%s", strings.Join(arguments, " "), dir, err,
			stderr.Bytes(), stdout)
	}
	return stdout, nil
}
