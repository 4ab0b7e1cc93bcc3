// The command devmapper-snapshotter is containerd's devmapper snapshotter, with this module's
// store, as a process of its own: a containerd that was built as usual uses it as a proxy plugin.
//
//	devmapper-snapshotter -config /etc/pool-metadata/devmapper-snapshotter.toml
//
// It is built by `make proxy`, with the overlay that also puts the store into containerd itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"golang.org/x/sys/unix"
)

const defaultConfig = "/etc/pool-metadata/devmapper-snapshotter.toml"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "devmapper-snapshotter: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("devmapper-snapshotter", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", defaultConfig, "the configuration `file`")
	check := flags.Bool("check", false, "check the configuration and exit")
	version := flags.Bool("version", false, "print the versions and exit")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q? Only flags are expected; see -help", flags.Arg(0))
	}
	if *version {
		_, err := fmt.Fprintf(stdout, "devmapper-snapshotter %s, of containerd %s\n",
			poolmetadata.Version(), containerdVersion())
		return err
	}
	c, err := readConfig(*path)
	if err != nil || *check {
		return err
	}
	if err := setLog(c, stderr); err != nil {
		return err
	}
	return serve(ctx, c)
}

// containerdVersion returns the version of containerd that the snapshotter in this program is from.
func containerdVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/containerd/containerd/v2" {
				return module.Version
			}
		}
	}
	return "unknown"
}
