package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
)

// The sockets, which a reboot removes.
const (
	address      = "/run/containerd/containerd.sock"
	proxyAddress = "/run/pool-metadata/devmapper-snapshotter.sock"
	metricsAt    = "127.0.0.1:9464"
)

// A daemon is containerd, and the proxy where there is one.
type daemon struct {
	pool, root, proxy string
	// program is containerd's.
	program string
	// recovers says that an interrupted prepare is in the way of nothing after a restart.
	recovers bool

	// main is containerd, and side the proxy.
	main, side *exec.Cmd
	client     *containerd.Client
}

// name returns the name that containerd knows the snapshotter by. It cannot be the built-in one's,
// which is registered even if it is disabled.
func (d *daemon) name() string {
	if d.proxy != "" {
		return "pool-metadata"
	}
	return "devmapper"
}

func (d *daemon) snapshotter() snapshots.Snapshotter { return d.client.SnapshotService(d.name()) }

// start starts the processes and waits until they serve.
func (d *daemon) start(ctx context.Context) error {
	settings := fmt.Sprintf("root_path = %q\npool_name = %q\nbase_image_size = \"64MB\"\n",
		filepath.Join(d.root, "devmapper"), d.pool)
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = \"/run/containerd\"\n"+
		"disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", "+
		"\"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"",
		filepath.Join(d.root, "containerd"))
	if d.proxy == "" {
		text += "]\n[plugins.\"io.containerd.snapshotter.v1.devmapper\"]\n" + settings
	} else {
		text += fmt.Sprintf(", \"io.containerd.snapshotter.v1.devmapper\"]\n[proxy_plugins.%s]\n"+
			"type = \"snapshot\"\naddress = %q\n", d.name(), proxyAddress)
		if err := d.startProxy(settings); err != nil {
			return err
		}
	}
	path := filepath.Join(d.root, "containerd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	var err error
	if d.main, err = d.spawn("containerd", d.program, "--config", path); err != nil {
		return err
	}
	return d.connect(ctx)
}

func (d *daemon) startProxy(settings string) error {
	text := fmt.Sprintf("address = %q\n[log]\nformat = \"json\"\n[metrics]\naddress = %q\n"+
		"[snapshotter]\n", proxyAddress, metricsAt) + settings
	path := filepath.Join(d.root, "proxy.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	var err error
	if d.side, err = d.spawn("proxy", d.proxy, "-config", path); err != nil {
		return err
	}
	return healthy(d.side)
}

// spawn starts a process, whose output is added to a file of the results.
func (d *daemon) spawn(name, program string, arguments ...string) (*exec.Cmd, error) {
	output, err := os.OpenFile("/results/"+name+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = output, output
	return command, command.Start()
}

// connect waits for containerd, and for its snapshotter.
func (d *daemon) connect(ctx context.Context) error {
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		if d.client, err = containerd.New(address, containerd.WithTimeout(5*time.Second),
			containerd.WithDefaultNamespace("e2e")); err == nil {
			err = d.snapshotter().Walk(ctx, func(context.Context, snapshots.Info) error { return nil })
			if err == nil {
				return nil
			}
			d.client.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("containerd does not serve: %w", err)
}

// kill ends the processes as a crash would.
func (d *daemon) kill() error { return d.end(syscall.SIGKILL) }

// stop ends them as systemd would, and wants them to succeed.
func (d *daemon) stop() error { return d.end(syscall.SIGTERM) }

func (d *daemon) end(signal syscall.Signal) error {
	d.client.Close()
	var result error
	// containerd first, which calls the proxy.
	for _, process := range []*exec.Cmd{d.main, d.side} {
		if process == nil {
			continue
		}
		if err := process.Process.Signal(signal); err != nil {
			result = errors.Join(result, err)
		}
		if err := process.Wait(); err != nil && signal == syscall.SIGTERM {
			result = errors.Join(result, fmt.Errorf("%s: %w", process.Path, err))
		}
	}
	d.main, d.side = nil, nil
	return result
}
