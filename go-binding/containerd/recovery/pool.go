//go:build linux

package recovery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// thinLs lists the devices in a pool's metadata.
const thinLs = "thin_ls"

var errNotReleased = errors.New(
	"the pool's metadata snapshot, which takes room in the pool, was not released")

// thinPool is a thin-pool, of which the devices are listed.
//
// The metadata of a pool in use changes all the time. A metadata snapshot, of which a pool has one
// at most, is a copy that stays. It takes room until it is released, and a restart keeps it: so it
// is noted before it is made.
type thinPool struct {
	name  string
	run   runner
	notes *notes
	// sysfs is where the kernel has a directory for each block device.
	sysfs string
	// boot is another text after each boot of the machine, or "" if it is not known.
	boot string
}

func (p *thinPool) path() string { return "/dev/mapper/" + p.name }

func (p *thinPool) dmsetup(ctx context.Context, arguments ...string) (string, error) {
	return p.run(ctx, "dmsetup", arguments...)
}

// releaseCommand is what to type to release the metadata snapshot.
func (p *thinPool) releaseCommand() string {
	return fmt.Sprintf("dmsetup message %s 0 release_metadata_snap", quoted(p.name))
}

// reconcileCommands is what to type, on one line, to see what would bring a store in step with the
// pool, whose metadata is on a device.
func (p *thinPool) reconcileCommands(store, device string) string {
	return fmt.Sprintf("commit=$(pmctl stats --commit --store %[1]s) && "+
		"dmsetup message %[2]s 0 reserve_metadata_snap && "+
		"{ %[3]s --metadata-snap --format DEV %[4]s >pool.txt; %[5]s; } && "+
		"pmctl reconcile -n --store %[1]s --pool pool.txt --pool-name %[2]s --as-of $commit",
		quoted(store), quoted(p.name), thinLs, device, p.releaseCommand())
}

// quoted returns a text as one word for a shell.
func quoted(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/:"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// ids lists the ids of all devices that the pool has. Its metadata is on the device.
func (p *thinPool) ids(ctx context.Context, device string) (ids []uint32, err error) {
	state, err := p.dmsetup(ctx, "info", "-c", "--noheadings", "-o", "suspended", p.path())
	if err != nil {
		return nil, err
	}
	// It would take the message, and wait for a disk that is suspended as well.
	if state := strings.TrimSpace(state); state != "Active" {
		return nil, fmt.Errorf("the pool %s is not active: %s", p.name, state)
	}
	if err := p.releaseOwn(ctx); err != nil {
		return nil, err
	}
	if err := p.notes.change(func(n *note) { n.Reserved, n.Boot = true, p.boot }); err != nil {
		return nil, err
	}
	// From here on, whatever happens, nothing may stay behind.
	always := context.WithoutCancel(ctx)
	_, err = p.dmsetup(ctx, "message", p.path(), "0", "reserve_metadata_snap")
	if err != nil && strings.Contains(err.Error(), "Device or resource busy") {
		return nil, errors.Join(p.heldByOther(), p.forget())
	}
	defer func() { err = errors.Join(err, p.release(always)) }()
	if err != nil {
		return nil, err
	}
	root, err := p.held(always)
	if err != nil {
		return nil, err
	}
	if err := p.notes.change(func(n *note) { n.Root = root }); err != nil {
		return nil, err
	}
	list, err := p.run(ctx, thinLs, "--metadata-snap", "--no-headers", "--format", "DEV", device)
	if err != nil {
		return nil, err
	}
	return parseIDs(list)
}

// parseIDs reads a list with an id a line. It is not nil for an empty list.
func parseIDs(list string) ([]uint32, error) {
	ids := []uint32{}
	lines := bufio.NewScanner(strings.NewReader(list))
	for lines.Scan() {
		id, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s has written %q, which is no id", thinLs, lines.Text())
		}
		ids = append(ids, uint32(id))
	}
	return ids, lines.Err()
}

// parameters returns the fields of a line of dmsetup after the target's name.
func (p *thinPool) parameters(ctx context.Context, arguments ...string) ([]string, error) {
	line, err := p.dmsetup(ctx, append(arguments, p.path())...)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[2] != "thin-pool" {
		return nil, fmt.Errorf("%s is not a thin-pool: %q", p.name, line)
	}
	return fields[3:], nil
}

// held returns the block of the pool's metadata snapshot, or "" if it has none. It fails if the
// pool cannot make one.
func (p *thinPool) held(ctx context.Context) (string, error) {
	// Without --noflush, the kernel would commit first, and wait for that.
	fields, err := p.parameters(ctx, "status", "--noflush")
	if err != nil {
		return "", err
	}
	if len(fields) < 5 {
		return "", fmt.Errorf("the pool %s does not work: %s", p.name, strings.Join(fields, " "))
	}
	if fields[4] == "ro" {
		return "", fmt.Errorf("the pool %s is read-only: its metadata is full or damaged", p.name)
	}
	if fields[3] == "-" {
		return "", nil
	}
	return fields[3], nil
}

// metadataDevice returns the path of the device that has the pool's metadata. The kernel names it,
// and needs no udev for that.
func (p *thinPool) metadataDevice(ctx context.Context) (string, error) {
	fields, err := p.parameters(ctx, "table")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(p.sysfs, filepath.Base(fields[0]), "uevent"))
	if err != nil {
		return "", fmt.Errorf("the metadata device of the pool %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return "/dev/" + name, nil
		}
	}
	return "", fmt.Errorf("the metadata device of the pool %s, %s, has no name", p.name, fields[0])
}

// releaseOwn releases a metadata snapshot that an earlier process has left, and fails if the pool
// has one of another program.
func (p *thinPool) releaseOwn(ctx context.Context) error {
	root, err := p.held(ctx)
	if err != nil {
		return err
	}
	n, err := p.notes.read()
	if err != nil {
		return err
	}
	// Whoever had one before the machine went down does not use it any more.
	rebooted := n.Boot != p.boot && n.Boot != "" && p.boot != ""
	switch {
	case root == "":
		return nil
	case n.Reserved && (n.Root == root || n.Root == "" && rebooted):
		return p.release(ctx)
	case n.Reserved && n.Root == "":
		// The process ended between the message and the note of the block.
		return fmt.Errorf("the pool %s has a metadata snapshot, perhaps left by a comparison that "+
			"was interrupted; unless another program uses it, type: %s", p.name, p.releaseCommand())
	}
	return p.heldByOther()
}

func (p *thinPool) heldByOther() error {
	return fmt.Errorf("the pool %s has a metadata snapshot, which another program uses; if none "+
		"does, type: %s", p.name, p.releaseCommand())
}

// release releases the metadata snapshot, and is content if there is none.
func (p *thinPool) release(ctx context.Context) error {
	_, err := p.dmsetup(ctx, "message", p.path(), "0", "release_metadata_snap")
	if err != nil {
		if root, failed := p.held(ctx); failed != nil || root != "" {
			return fmt.Errorf("%w; type: %s: %w", errNotReleased, p.releaseCommand(), err)
		}
	}
	return p.forget()
}

func (p *thinPool) forget() error {
	return p.notes.change(func(n *note) { n.Reserved, n.Boot, n.Root = false, "", "" })
}
