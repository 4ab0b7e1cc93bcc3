// The command cases runs in the guest: it starts containerd on a thin-pool, alone or with the
// proxy, and takes snapshots, an image and a container through a life with kills and a reboot.
//
//	cases -pool POOL -root DIRECTORY [-proxy PROGRAM] [-recovers] [-only NAME,...]
//	cases -cut ROUND [-last] ...
//	cases -bench CYCLES [-device DEVICE] ...
//
// It prints a line for each case, "ok NAME" or "failed NAME: WHY", and exits with 1 if one failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
)

func main() {
	d := &daemon{}
	flag.StringVar(&d.pool, "pool", "pool", "the thin-pool's `name`")
	flag.StringVar(&d.root, "root", "/data", "the `directory` for everything that is kept")
	flag.StringVar(&d.proxy, "proxy", "",
		"the proxy's `program`; without one, containerd has the store")
	flag.BoolVar(&d.recovers, "recovers", false, "new work must be possible after a kill")
	round := flag.Uint64("cut", 0, "this `round` of losses of power, from 1 on, instead of the cases")
	last := flag.Bool("last", false, "with -cut: the last round, without a loss of power")
	cycles := flag.Int("bench", 0, "measure this number of cycles instead")
	device := flag.String("device", "vdb", "with -bench: the block `device` whose flushes count")
	flag.StringVar(&d.program, "containerd", "containerd", "containerd's `program`")
	only := flag.String("only", "", "the `cases` to run, with commas in between")
	flag.Parse()
	ctx := namespaces.WithNamespace(context.Background(), "e2e")
	var err error
	switch {
	case *round > 0:
		err = cut(ctx, d, *round, *last)
	case *cycles > 0:
		err = bench(ctx, d, *cycles, *device)
	default:
		err = runAll(ctx, d, *only)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// A testCase is one step of the life. Each finds what those before it have left.
type testCase struct {
	name string
	run  func(context.Context, *life) error
}

var all = []testCase{
	{"prepare_writes_and_commit", prepareAndCommit},
	{"stacked_snapshots_have_their_own_contents", stack},
	{"view_is_read_only", view},
	{"usage_grows_with_contents", usage},
	{"refused_operations_change_nothing", refused},
	{"remove_frees_device", remove},
	{"image_import_and_unpack", importImage},
	{"runc_container_writes_its_root", container},
	{"operator_sees_store_and_daemon", operate},
	{"restart_keeps_everything", restart},
	{"vanished_devices_come_back", reboot},
	{"differences_of_store_and_pool_are_logged", compare},
	{"kill_at_work_loses_nothing_acknowledged", kills},
}

func runAll(ctx context.Context, d *daemon, only string) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.kill()
	failed := 0
	l := &life{daemon: d, kept: map[string]string{}}
	ran := 0
	for _, c := range all {
		if only != "" && !slices.Contains(strings.Split(only, ","), c.name) {
			continue
		}
		ran++
		start := time.Now()
		limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
		err := c.run(limited, l)
		cancel()
		if err != nil {
			failed++
			fmt.Printf("failed %s: %v\n", c.name, err)
			continue
		}
		fmt.Printf("ok %s (%.1fs)\n", c.name, time.Since(start).Seconds())
	}
	if ran == 0 {
		return fmt.Errorf("no case is named %q", only)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases", failed, ran)
	}
	return nil
}
