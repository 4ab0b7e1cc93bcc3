//go:build linux && cgo

// Command pm-migrate moves the pool metadata of containerd's devmapper snapshotter from bbolt to
// this store, and back.
//
//	pm-migrate [-wait TIME] [-quiet] to PATH
//	pm-migrate [-wait TIME] [-quiet] from STORE FILE
//	pm-migrate [-wait TIME] [-quiet] check PATH [FILE]
//	pm-migrate [-wait TIME] [-quiet] rescue FILE STORE
//	pm-migrate snapshots METADATA POOL
//
// "to" replaces the bbolt file at PATH by a store, and keeps the bbolt file as PATH.bbolt. "from"
// writes the contents of a store to a new bbolt file. "check" verifies the file at PATH and
// describes it. For a bbolt file it says what "to" would make of it; a store it compares with the
// bbolt file FILE, if one is given. "rescue" makes a new store of what is whole in a damaged bbolt
// file, and says what it left out. "snapshots" prints the names of the devices that the snapshots
// in a snapshotter's metadata.db have, for `pmctl reconcile`; containerd may be running.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
)

const usage = `usage: pm-migrate [-wait TIME] [-quiet] COMMAND

  to PATH            put a store in the place of the bbolt file at PATH, which is kept as PATH.bbolt
  from STORE FILE    write the contents of a store to a new bbolt file, for a stock containerd
  rescue FILE STORE  make a new store of what is whole in a damaged bbolt file, which is only read
  check PATH [FILE]  verify the file at PATH and describe it; compare it with the bbolt file FILE
  snapshots METADATA POOL
                     the devices that the snapshots in the snapshotter's metadata.db have, in the
                     pool of that name; for pmctl reconcile

containerd must not be running for "to". The others only read.

`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 1 for a failure, 2 for wrong arguments.
func run(args []string, out, log io.Writer) int {
	flags := flag.NewFlagSet("pm-migrate", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() {
		fmt.Fprint(log, usage)
		flags.PrintDefaults()
	}
	wait := flags.Duration("wait", 10*time.Second,
		"how long to wait for a process that has the bbolt file open")
	quiet := flags.Bool("quiet", false, "show no progress")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	printed := &output{to: out}
	options := []poolmetadata.MigrateOption{poolmetadata.MigrateLockWait(*wait)}
	c := command{out: printed, options: options}
	if terminal, ok := log.(*os.File); ok && !*quiet && isTerminal(terminal) {
		bar := &bar{to: log}
		defer bar.end()
		c.options = append(c.options, poolmetadata.MigrateProgress(bar.show))
		c.finish = bar.end
	}
	err := c.do(flags.Args())
	if errors.Is(err, errUsage) {
		flags.Usage()
		return 2
	}
	if err == nil && printed.err != nil {
		err = fmt.Errorf("all is done, but the output cannot be written: %w", printed.err)
	}
	if err != nil {
		c.end()
		fmt.Fprintln(log, "pm-migrate:", err)
		return 1
	}
	return 0
}

// output keeps the first error of a writer.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(text []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(text)
	o.err = err
	return n, err
}

var errUsage = errors.New("not understood")

// command is one run of the command and its output.
type command struct {
	out     io.Writer
	options []poolmetadata.MigrateOption
	finish  func()
}

// end ends the progress bar, so that the next output starts a line.
func (c *command) end() {
	if c.finish != nil {
		c.finish()
	}
}

func (c *command) do(args []string) error {
	var name string
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch {
	case name == "to" && len(args) == 1:
		return c.to(args[0])
	case name == "from" && len(args) == 2:
		return c.from(args[0], args[1])
	case name == "snapshots" && len(args) == 2:
		return c.snapshots(args[0], args[1])
	case name == "rescue" && len(args) == 2:
		return c.rescue(args[0], args[1])
	case name == "check" && len(args) == 1:
		return c.check(args[0], "")
	case name == "check" && len(args) == 2:
		return c.check(args[0], args[1])
	}
	return errUsage
}

func (c *command) to(path string) error {
	done, err := poolmetadata.Migrate(path, c.options...)
	if err != nil {
		return err
	}
	c.end()
	c.describe(done)
	fmt.Fprintf(c.out, "%s is a store now; the bbolt file is %s\n", path, done.Kept)
	return nil
}

func (c *command) from(from, to string) error {
	store, err := poolmetadata.Open(from, poolmetadata.WithReadOnly())
	if err != nil {
		return err
	}
	if err := errors.Join(store.ExportBbolt(to, c.options...), store.Close()); err != nil {
		return err
	}
	c.end()
	fmt.Fprintf(c.out, "%s has the contents of %s\n", to, from)
	return nil
}

// snapshots prints names as the snapshotter makes them.
func (c *command) snapshots(path, pool string) error {
	numbers, err := boltfile.Snapshots(path)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		fmt.Fprintf(c.out, "%s-snap-%d\n", pool, number)
	}
	return nil
}

func (c *command) rescue(from, to string) error {
	done, err := poolmetadata.RescueBbolt(from, to, c.options...)
	if err != nil {
		return err
	}
	c.end()
	c.describe(done)
	fmt.Fprintf(c.out, "%s is a store of what is whole in %s\n", to, from)
	return nil
}

func (c *command) check(path, file string) error {
	store, err := poolmetadata.Open(path, poolmetadata.WithReadOnly(),
		poolmetadata.WithVerify(poolmetadata.VerifyFull))
	if errors.Is(err, poolmetadata.ErrBboltFile) && file == "" {
		found, err := poolmetadata.InspectBbolt(path, c.options...)
		if err != nil {
			return err
		}
		c.end()
		c.describe(found)
		fmt.Fprintf(c.out, "%s is a bbolt file, and can be migrated\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(c.checkStore(store, path, file), store.Close())
}

func (c *command) checkStore(store *poolmetadata.PoolMetadata, path, file string) error {
	stats, err := store.Stats()
	if err != nil {
		return err
	}
	var difference string
	if file != "" {
		if difference, err = store.CompareBbolt(file, c.options...); err != nil {
			return err
		}
	}
	c.end()
	fmt.Fprintf(c.out, "devices %d, ids up to %d: %d free, %d faulty\n",
		stats.Devices, stats.LastID, stats.FreeIDs, stats.FaultyIDs)
	fmt.Fprintf(c.out, "%s is a store, and sound\n", path)
	switch {
	case difference != "":
		return fmt.Errorf("%s and %s differ: %s", path, file, difference)
	case file != "":
		fmt.Fprintf(c.out, "%s has the same contents\n", file)
	}
	return nil
}

func (c *command) describe(found *poolmetadata.Migration) {
	fmt.Fprintf(c.out, "devices %d, ids up to %d: %d free, %d faulty\n",
		found.Devices, found.IDs.LastID, len(found.IDs.Free), len(found.IDs.Faulty))
	for _, note := range found.Notes {
		fmt.Fprintln(c.out, "note:", note)
	}
}
