package containerd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// goCommand runs the go command in a directory and returns its output. Its error output becomes the
// error.
//
// The caller's workspace and GOFLAGS would name other go.mod files than these.
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
