//go:build linux

package recovery

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// patience limits each run of a tool.
const patience = 30 * time.Second

// A runner runs a tool, ends it when the context ends, and returns what it has written.
type runner func(ctx context.Context, program string, arguments ...string) (string, error)

// run is the runner of the real tools. It does not return before the tool has ended: one that
// waits for a disk in the kernel cannot be ended.
func run(ctx context.Context, program string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var errors strings.Builder
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(command.Environ(), "LC_ALL=C")
	command.WaitDelay = time.Second
	command.Stderr = &errors
	output, err := command.Output()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", program, strings.Join(arguments, " "), err,
			errors.String(), output)
	}
	return string(output), nil
}
