package guest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

var probe sync.Mutex

// accelerate returns how qemu is to run guests: "kvm" where a guest boots with it, and else "tcg",
// which emulates the processor. That a /dev/kvm exists does not say so: in some virtual machines
// its guests hang. The answer is kept in target/e2e. E2E_ACCEL has precedence.
func accelerate(ctx context.Context, top string) (string, error) {
	if forced := os.Getenv("E2E_ACCEL"); forced != "" {
		if forced != "kvm" && forced != "tcg" {
			return "", fmt.Errorf("E2E_ACCEL is %q, and must be kvm or tcg", forced)
		}
		return forced, nil
	}
	probe.Lock()
	defer probe.Unlock()
	answer := filepath.Join(top, "target", "e2e", "accelerator")
	if text, err := os.ReadFile(answer); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	found := "tcg"
	if works, err := kvmWorks(ctx, top); err != nil {
		return "", err
	} else if works {
		found = "kvm"
	}
	return found, os.WriteFile(answer, []byte(found+"\n"), 0o644)
}

// kvmWorks boots the smallest guest, which turns itself off, and gives it ten seconds.
func kvmWorks(ctx context.Context, top string) (bool, error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false, nil
	}
	device.Close()
	busybox, err := lookPath("busybox")
	if err != nil {
		return false, fmt.Errorf("%w; run: scripts/setup.sh e2e", err)
	}
	image := &Image{entries: map[string]entry{
		"/bin/busybox": {host: busybox},
		"/dev":         {mode: 0o755},
		"/init": {text: "#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n" +
			"echo e2e: alive >/dev/console\n/bin/busybox poweroff -f\n", mode: 0o755},
	}}
	dir, err := os.MkdirTemp("", "e2e-probe-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	initramfs := filepath.Join(dir, "initramfs")
	if err := image.write(initramfs); err != nil {
		return false, err
	}
	arguments, err := machineArguments(top, "kvm", initramfs)
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	command := exec.CommandContext(limited, "qemu-system-x86_64", append(arguments, "-m", "256")...)
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	return err == nil && bytes.Contains(output, []byte("e2e: alive")), ctx.Err()
}
