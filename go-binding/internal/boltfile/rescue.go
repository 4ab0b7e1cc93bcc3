package boltfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"time"
)

// Rescue reads what is whole in a damaged file: without its list of free pages, from the newest
// commit, or, if pages of that are damaged, from the one before if that is whole. It leaves out
// what it cannot read and says so in the notes. An id of which it is not known whether the pool has
// a device becomes faulty. No process can write to the file meanwhile.
func Rescue(path string, wait time.Duration) (*Contents, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := lockShared(file, wait); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	commits := commitsOf(content)
	if len(commits) == 0 {
		return nil, damaged("neither of its meta pages is sound, and without one nothing is found")
	}
	best := commits[0]
	if len(commits) == 2 && len(best.lost) > 0 && len(commits[1].lost) == 0 {
		best = commits[1]
	}
	return best.contents(best != commits[0])
}

// commit is what could be read of one commit.
type commit struct {
	meta          meta
	file          []byte
	used          map[uint64]bool
	devices, rows map[string][]byte
	sequence      uint64
	// lost says what could not be read.
	lost []string
}

// commitsOf reads the commits of both meta pages, the newest first.
func commitsOf(file []byte) (commits []*commit) {
	sizes := map[uint64]bool{}
	for size := uint64(minPageSize); size <= maxPageSize; size <<= 1 {
		for _, at := range []uint64{0, size} {
			if at >= uint64(len(file)) {
				continue
			}
			m, ok := parseMeta(file[at:])
			if ok && uint64(m.pageSize) == size && bits.OnesCount64(size) == 1 && !sizes[size+at] {
				sizes[size+at] = true
				commits = append(commits, &commit{meta: m, file: file})
			}
		}
	}
	slices.SortFunc(commits, func(a, b *commit) int { return cmp.Compare(b.meta.txid, a.meta.txid) })
	for _, c := range commits {
		c.read()
	}
	return commits
}

func (c *commit) read() {
	c.used = map[uint64]bool{}
	buckets := map[string][]byte{}
	c.tree(c.meta.root, span{}, 0, func(key, value []byte, flags uint32) {
		if flags == bucketElement && len(value) >= bucketHeaderLen {
			buckets[string(key)] = value
		}
	})
	c.devices, c.rows = map[string][]byte{}, map[string][]byte{}
	for name, into := range map[string]map[string][]byte{
		string(devicesBucket): c.devices, string(idsBucket): c.rows,
	} {
		bucket, ok := buckets[name]
		if !ok {
			c.lose("the bucket %q", name)
			continue
		}
		keep := func(key, value []byte, flags uint32) {
			if flags == 0 {
				into[string(key)] = value
			}
		}
		if root := native.Uint64(bucket); root != 0 {
			c.tree(root, span{}, 1, keep)
		} else if inline := (page{bucket[bucketHeaderLen:]}); len(inline.bytes) < pageHeaderLen {
			c.lose("the page of the bucket %q", name)
		} else {
			c.leaf(inline, span{}, keep)
		}
		if name == string(idsBucket) {
			c.sequence = native.Uint64(bucket[8:])
		}
	}
}

func (c *commit) lose(format string, args ...any) {
	c.lost = append(c.lost, fmt.Sprintf(format, args...))
}

// tree shows the elements of all leaves that can be reached from a page.
func (c *commit) tree(id uint64, keys span, depth int, show func(key, value []byte, flags uint32)) {
	p, ok := c.load(id)
	if !ok || depth > maxDepth {
		c.lose("page %d", id)
		return
	}
	if p.flags() == leafPage {
		c.leaf(p, keys, show)
		return
	}
	for i := range p.count() {
		key, child, ok := p.branch(i)
		if !ok || !keys.holds(key) {
			c.lose("element %d of page %d", i, id)
			continue
		}
		below := span{first: key, end: keys.end, bounded: keys.bounded}
		if next, _, ok := p.branch(i + 1); i+1 < p.count() && ok {
			below.end, below.bounded = next, true
		}
		c.tree(child, below, depth+1, show)
	}
}

// load returns a page of the tree that no other place of it has.
func (c *commit) load(id uint64) (page, bool) {
	size := uint64(c.meta.pageSize)
	if id < 2 || id >= uint64(len(c.file))/size || c.used[id] {
		return page{}, false
	}
	c.used[id] = true
	p := page{c.file[id*size : (id+1)*size]}
	if p.id() != id || p.flags() != leafPage && (p.flags() != branchPage || p.count() == 0) {
		return page{}, false
	}
	end := (id + 1 + p.overflow()) * size
	if p.overflow() > uint64(len(c.file))/size || end > uint64(len(c.file)) {
		return page{}, false
	}
	return page{c.file[id*size : end]}, true
}

func (c *commit) leaf(p page, keys span, show func(key, value []byte, flags uint32)) {
	var previous []byte
	for i := range p.count() {
		key, value, flags, ok := p.leaf(i)
		if !ok || !keys.holds(key) || previous != nil && bytes.Compare(previous, key) >= 0 {
			c.lose("element %d of a leaf, page %d", i, p.id())
			continue
		}
		previous = key
		show(key, value, flags)
	}
}

// contents makes sound contents of what was read; older says that a commit after it is lost.
func (c *commit) contents(older bool) (*Contents, error) {
	if len(c.devices) == 0 && len(c.rows) == 0 && len(c.lost) > 0 {
		return nil, damaged("nothing of it can be read: %v are lost", c.lost)
	}
	var notes []string
	leaveOut := func(format string, args ...any) {
		notes = append(notes, "left out: "+fmt.Sprintf(format, args...))
	}
	for _, what := range c.lost {
		leaveOut("%s, which is damaged", what)
	}
	devices := c.soundDevices(leaveOut)
	rows := c.soundRows(leaveOut)
	sequence := min(c.sequence, maxDeviceID)
	if c.sequence > maxDeviceID {
		leaveOut("the sequence of device ids, %d", c.sequence)
		sequence = 0
	}
	found, err := resolve(devices, rows, sequence)
	if err != nil {
		return nil, err
	}
	if older {
		notes = append(notes, "the newest commit is damaged: this is the one before it")
	}
	if older || len(c.lost) > 0 {
		// A device may have got any of these since, or be on a page that is lost.
		if len(found.Free) > 0 {
			notes = append(notes, fmt.Sprintf("%d free ids are made faulty: the pool may have devices "+
				"with them", len(found.Free)))
		}
		found.Faulty = append(found.Faulty, found.Free...)
		found.Free = nil
		if older && found.LastID < maxDeviceID {
			found.LastID++ // what the lost commit may have added
			found.Faulty = append(found.Faulty, found.LastID)
			notes = append(notes, fmt.Sprintf("id %d is made faulty: the newest commit may have "+
				"assigned it", found.LastID))
		}
		slices.Sort(found.Faulty)
	}
	found.Notes = append(notes, found.Notes...)
	return found, nil
}

// soundDevices are the records that this store can have, in the order of their names. Of those that
// share an id, none is to be trusted.
func (c *commit) soundDevices(leaveOut func(format string, args ...any)) []Device {
	var devices []Device
	owners := map[uint32]int{}
	for key, value := range c.devices {
		var device Device
		unfit := newUnfit()
		if err := json.Unmarshal(value, &device); err != nil {
			leaveOut("the record of device %q, which is not one: %v", key, err)
			continue
		}
		if device.Name != key && device.Name != throughJSON([]byte(key)) {
			leaveOut("the record of device %q, which has the name %q", key, device.Name)
			continue
		}
		device.Name = key
		if device.fits(&unfit); unfit.err() != nil {
			leaveOut("the record of device %q: %v", key, unfit.err())
			continue
		}
		if device.DeviceID == 0 || device.DeviceID > maxDeviceID {
			leaveOut("the record of device %q, which has the id %d", key, device.DeviceID)
			continue
		}
		owners[device.DeviceID]++
		devices = append(devices, device)
	}
	slices.SortFunc(devices, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	return slices.DeleteFunc(devices, func(device Device) bool {
		shared := owners[device.DeviceID] > 1
		if shared {
			leaveOut("the record of device %q, whose id %d another one has too", device.Name,
				device.DeviceID)
		}
		return shared
	})
}

// soundRows are the states of ids, in ascending order. An id whose state is not one counts as
// taken, so that it becomes faulty if no device has it.
func (c *commit) soundRows(leaveOut func(format string, args ...any)) []row {
	var rows []row
	for key, value := range c.rows {
		id, err := strconv.ParseUint(key, 10, 32)
		if err != nil || strconv.FormatUint(id, 10) != key || id == 0 || id > maxDeviceID {
			leaveOut("the device id %q", key)
			continue
		}
		state := byte(stateTaken)
		if len(value) == 1 && value[0] <= stateFaulty {
			state = value[0]
		} else {
			leaveOut("the state %q of device id %d", value, id)
		}
		rows = append(rows, row{uint32(id), state})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
	return rows
}
