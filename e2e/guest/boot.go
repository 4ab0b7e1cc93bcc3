// Package guest boots small virtual machines to run tests in, which need a kernel of their own: a
// thin-pool, loop devices, a loss of power.
package guest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Top returns the directory of the checkout.
func Top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "init")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the working directory is not in a checkout of pool-metadata")
}

func kernelDir(top string) string { return filepath.Join(top, "target", "e2e", "kernel") }

// A Machine is a guest: its image, and its disks, which stay when it is booted again.
type Machine struct {
	dir   string
	disks []string
	// Memory is in MiB.
	Memory int
	// Arguments are the script's arguments at the next boot: words without spaces.
	Arguments []string
}

// NewMachine makes a machine with an image, whose files go to a directory. It has one disk beside
// the one for the results for each of the sizes, in MiB: /dev/vdb and so on, all zeroes.
func NewMachine(dir string, image *Image, sizes ...int64) (*Machine, error) {
	m := &Machine{dir: dir, Memory: 1536}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := image.write(m.path("initramfs")); err != nil {
		return nil, err
	}
	for n, size := range append([]int64{256}, sizes...) {
		path := m.path(fmt.Sprintf("disk%d", n))
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return nil, err
		}
		if err := os.Truncate(path, size<<20); err != nil {
			return nil, err
		}
		m.disks = append(m.disks, path)
	}
	return m, nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

// Remove removes the machine's files.
func (m *Machine) Remove() error { return os.RemoveAll(m.dir) }

// A Result is what a guest left: files by name, and all that it wrote to its console. Ended is
// false where it lost its power before its script's end.
type Result struct {
	Files   map[string]string
	Console string
	Ended   bool
}

// Boot boots the machine and waits until it turns itself off or restarts, which is a loss of power
// here: what the guest's kernel had not yet written is lost.
func (m *Machine) Boot(ctx context.Context) (*Result, error) {
	if err := os.WriteFile(m.disks[0], nil, 0o644); err != nil {
		return nil, err
	}
	if err := os.Truncate(m.disks[0], 256<<20); err != nil {
		return nil, err
	}
	arguments, err := m.arguments(ctx)
	if err != nil {
		return nil, err
	}
	var console bytes.Buffer
	command := exec.CommandContext(ctx, "qemu-system-x86_64", arguments...)
	command.Stdout, command.Stderr = &console, &console
	command.WaitDelay = 10 * time.Second
	err = command.Run()
	result := &Result{Console: console.String(), Files: map[string]string{}}
	if writeErr := os.WriteFile(m.path("console"), console.Bytes(), 0o644); writeErr != nil {
		return result, writeErr
	}
	if ctx.Err() != nil {
		return result, fmt.Errorf("the guest had not ended: %w\n%s", context.Cause(ctx), result.Tail())
	}
	if err != nil {
		return result, fmt.Errorf("qemu: %w\n%s", err, result.Tail())
	}
	if !strings.Contains(result.Console, "e2e: started") {
		return result, fmt.Errorf("the guest did not start\n%s", result.Tail())
	}
	if result.Ended = strings.Contains(result.Console, "e2e: ended"); result.Ended {
		return result, result.read(m.disks[0])
	}
	return result, nil
}

// Run boots the machine once, and wants its script to end with success.
func (m *Machine) Run(ctx context.Context) (*Result, error) {
	result, err := m.Boot(ctx)
	switch {
	case err != nil:
		return result, err
	case !result.Ended:
		return result, fmt.Errorf("the guest restarted\n%s", result.Tail())
	case strings.TrimSpace(result.Files["exit"]) != "0":
		return result, fmt.Errorf("the script ended with %q\n%s", result.Files["exit"], result.Tail())
	}
	return result, nil
}

// Tail returns the end of what was written to the console.
func (r *Result) Tail() string {
	const most = 6000
	if len(r.Console) <= most {
		return r.Console
	}
	return "...\n" + r.Console[len(r.Console)-most:]
}

// read reads the tar of the results.
func (r *Result) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the guest's results: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return fmt.Errorf("the guest's results: %w", err)
		}
		r.Files[strings.TrimPrefix(header.Name, "./")] = string(text)
	}
}

func (m *Machine) arguments(ctx context.Context) ([]string, error) {
	top, err := Top()
	if err != nil {
		return nil, err
	}
	accelerator, err := accelerate(ctx, top)
	if err != nil {
		return nil, err
	}
	arguments, err := machineArguments(top, accelerator, m.path("initramfs"), m.Arguments...)
	if err != nil {
		return nil, err
	}
	arguments = append(arguments, "-m", strconv.Itoa(m.Memory), "-smp", "2")
	for _, disk := range m.disks {
		arguments = append(arguments, "-drive", "if=virtio,format=raw,cache=unsafe,file="+disk)
	}
	return arguments, nil
}

// machineArguments are the arguments of every guest.
func machineArguments(top, accelerator, initramfs string, script ...string) ([]string, error) {
	kernels, err := filepath.Glob(filepath.Join(kernelDir(top), "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return nil, fmt.Errorf("%d kernels in %s; run: scripts/setup.sh e2e", len(kernels),
			kernelDir(top))
	}
	// Where the host is loaded, the kernel's own measurement of the clock's rate is far off, and
	// time runs several times too fast.
	options := fmt.Sprintf("console=ttyS0 quiet panic=-1 tsc_early_khz=%d -- %s",
		clockRate(), strings.Join(script, " "))
	return []string{
		"-accel", accelerator, "-cpu", "max", "-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-kernel", kernels[0], "-initrd", initramfs, "-append", options,
	}, nil
}
